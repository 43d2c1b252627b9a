"""Runs the validator of fiboa-cli on a file without a network, in an environment of its own.

``python fiboa_validator.py fields.parquet < schemas.json``: the schemas by their addresses. Prints the version of the
validator, whether it finds the file valid, and what it says, as JSON.
"""

import json
import sys
from importlib import metadata

import referencing
from fiboa_cli.validate import ValidateData
from vecorel_cli.validate_schema import ValidateSchema
from vecorel_cli.vecorel import util

schemas = json.load(sys.stdin)
util.file_cache.update(schemas)
ValidateSchema.retrieve_remote_schema = staticmethod(
    lambda uri: referencing.Resource.from_contents(
        schemas[uri], default_specification=referencing.jsonschema.DRAFT202012
    )
)
found = ValidateData().validate(sys.argv[1])
said = {kind: [str(item) for item in getattr(found, kind)] for kind in ("errors", "warnings", "infos")}
json.dump({"version": metadata.version("fiboa-cli"), "valid": found.is_valid(), **said}, sys.stdout)
