#!/bin/sh
# try_wheel.sh PYTHON WHEEL: installs the wheel with --target into an empty folder and does the main job from it.
# Only the dependencies come from PYTHON's environment; no path leads into the checkout.
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
wheel=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/site" "$wheel"
packages=$("$python" -c 'import site; print(site.getsitepackages()[0])')
cd "$work"
cat > run.py <<END
import sys

# with -S the environment's own link to the checkout is not followed
sys.path += ["$work/site", "$packages"]
import spladev3_anserini
from spladev3_anserini.cli.commands import main
from spladev3_anserini.recipe.library import default_folder

for path in (spladev3_anserini.__file__, str(default_folder())):
    assert path.startswith("$work/site/"), path
main()
END
run() { echo "\$ spladev3-anserini $*"; "$python" -S -P run.py "$@"; }
printf '{"id": "d1", "contents": "a wing lifts the aircraft"}\n' > corpus.jsonl
printf '{"id": "d2", "contents": "a jet burns fuel"}\n' >> corpus.jsonl
printf 'q1\twhat lifts a wing\n' > topics.tsv
printf 'q1 0 d1 1\n' > qrels.txt
run --version
run reproduce list > recipes.txt
grep -q '^splade-v3-doc ' recipes.txt
run encode --model demo --corpus corpus.jsonl --output encoded
run index --encoded encoded --index index
run search --index index --topics topics.tsv --output run.txt
run evaluate --qrels qrels.txt --run run.txt --measures RR@10 > values.txt
cat values.txt
grep -q '1\.0000' values.txt
echo "the wheel does the main job by itself"
