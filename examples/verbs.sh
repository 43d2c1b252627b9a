#!/bin/sh
# Every verb of the command line once, on a scene that geoseg draws itself. Usage: sh examples/verbs.sh [folder of the geoseg command]
set -eu
PATH="${1:+$(cd "$1" && pwd):}$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

geoseg models                                           # what ships with geoseg
geoseg models landcover-aerial                          # one model in full
geoseg models check landcover-aerial                    # metadata, hash, weights, and a tile

geoseg demo --out demo --side 512                       # draws demo/scene.tif and demo/truth.tif, maps the scene
geoseg map demo/scene.tif --model landcover-aerial --out map --format gpkg,parquet --tile 256
geoseg areas demo/truth.tif --out truth.csv             # true areas of any categorical raster
geoseg areas demo/truth.tif --out areas                 # a folder: the table, and how it was made
geoseg vectorize demo/truth.tif --out truth.gpkg --connectivity 8
geoseg vectorize map/classes.tif --out parcels.parquet --confidence map/confidence.tif --min-area 20m2 --simplify 1px --smooth
geoseg vectorize map/classes.tif --out houses.gpkg --classes building --min-area 20m2 --regularize
geoseg vectorize demo/truth.tif --out true_houses.gpkg --classes 0   # buildings, as they were drawn
geoseg areas demo/truth.tif --zones houses.gpkg --zone-field object_id --confidence map/confidence.tif --out by_house  # what lies in each
geoseg assess houses.gpkg true_houses.gpkg --out accuracy  # found, missed and false ones
geoseg sample map/classes.tif --plan --target-se 0.02   # how many units a wanted standard error needs
geoseg sample map/classes.tif --n 150 --at-least 20 --out sample.gpkg  # where to look, for an interpreter
geoseg assess map/classes.tif demo/truth.tif --out map_accuracy  # here the truth is known everywhere
geoseg map demo/scene.tif --model buildings-aerial --out buildings --simplify 1px --regularize  # each building once
geoseg map demo/scene.tif --model landcover-aerial --objects building --split 3px --out regions  # objects of a class
"$(dirname "$(command -v geoseg)")/python" -c "from geoseg.synthetic import write_scene
write_scene('later.tif', shape=(512, 512), seed=7, date=1)"   # the same place, some years later
geoseg map later.tif --out later --tile 256
geoseg change map/classes.tif later/classes.tif --dates 2018-06-01,2024-06-01 --min-area 20m2 --gain building --out change \
    --confidence map/confidence.tif,later/confidence.tif   # what became what, in tables, a raster, polygons and a picture
geoseg vectorize map/classes.tif --out clipped.fgb --clip houses.gpkg --split grid --max-vertices 500
geoseg map demo/scene.tif --out sieved --min-area 20m2 --simplify 1px
if "$(dirname "$(command -v geoseg)")/python" -c "import onnx, onnxruntime" 2>/dev/null; then  # pip install 'geoseg[onnx]'
    geoseg models export landcover-aerial --onnx onnx   # the same model for ONNX Runtime
    geoseg models import onnx/weights.onnx --out mine.zip --name mine --bands red,green,blue --mean 127.5 --std 127.5 \
        --classes "0=building:#c0392b,1=road,2=vegetation,3=water:#2f6fb0,4=bare land" --tile 256 --license Apache-2.0
    geoseg map demo/scene.tif --model mine.zip --out mine
fi
ls map/classes.tif map/confidence.tif map/polygons.gpkg map/polygons.parquet map/areas.csv map/preview.png map/run.json
