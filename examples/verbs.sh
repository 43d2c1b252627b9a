#!/bin/sh
# Every verb of the command line once, on a scene that geoseg draws itself. Usage: sh examples/verbs.sh [folder of the geoseg command]
set -eu
PATH="${1:+$(cd "$1" && pwd):}$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

geoseg models                                           # what ships with geoseg
geoseg models landcover-aerial                          # one model in full

geoseg demo --out demo --side 512                       # draws demo/scene.tif and demo/truth.tif, maps the scene
geoseg map demo/scene.tif --model landcover-aerial --out map --format gpkg,parquet --tile 256
geoseg areas demo/truth.tif --out truth.csv             # true areas of any categorical raster
geoseg vectorize demo/truth.tif --out truth.gpkg --connectivity 8
geoseg vectorize map/classes.tif --out parcels.parquet --confidence map/confidence.tif --min-area 20m2 --simplify 1px --smooth
geoseg vectorize map/classes.tif --out houses.gpkg --classes building --min-area 20m2 --regularize
geoseg vectorize map/classes.tif --out clipped.fgb --clip houses.gpkg --split grid --max-vertices 500
geoseg map demo/scene.tif --out sieved --min-area 20m2 --simplify 1px
ls map/classes.tif map/confidence.tif map/polygons.gpkg map/polygons.parquet map/areas.csv map/preview.png map/run.json
