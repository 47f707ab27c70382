"""A cheap call of each command, and of each question of the explorer, for its JSON.

`make_json_reference.py` runs them in this order in one folder: later ones read what earlier ones
wrote. Sizes are the smallest that fill every field; the numbers mean nothing.
"""

from typing import Any

PROMPT = "Michael Jordan plays the sport of"
FACT = '-s "Michael Jordan" -p "{} plays the sport of"'
TOY = "-n 4 -d 2 --steps 5 --density 0.5"

COMMANDS = f"""
facts "Michael Jordan"
facts --relation athlete_sport -o athletes.csv
facts discover --facts few.csv --phrasings 1 -o known.jsonl
recall --facts few.csv
ask "{PROMPT}"
ask --facts few.csv
edit {FACT} -a baseball -o jordan.safetensors
edit --facts few.csv --method memit --layer 1 --allow-failed -o few.safetensors
audit --patch jordan.safetensors --neighbours 1
audit --patch jordan.safetensors --gone --relearning 2
audit --edits 2 --method memit --layer 1 --one-after-another --each 1 --checkpoints 1 --neighbours 1
sweep --edits 1
patch show jordan.safetensors
patch diff jordan.safetensors few.safetensors
patch merge jordan.safetensors few.safetensors --keep last -o both.safetensors
patch compress few.safetensors -r 1 -o less.safetensors
patch export jordan.safetensors -f delta -o delta.safetensors
patch apply jordan.safetensors -m demo -o edited
patch revert jordan.safetensors -m ./edited -o restored
forensics demo ./edited --no-answers --subjects names.txt
forensics ./edited
forensics ./edited --inside
trace "{PROMPT}" --samples 2
trace --known 2 --samples 2
trace "{PROMPT}" --neurons 0 --token 2 --samples 1
locate "{PROMPT}"
lens "{PROMPT}" --against baseball
routes "{PROMPT}"
neurons "{PROMPT}" --controls 2
neurons --entity "Michael Jordan" --candidates 1
probe athlete_sport --facts athletes.csv --folds 2
lookup athlete_sport --count 4 --neurons 8
read L1N37 --tokens 500
read L1N37 --weights-only
memories --tokens 500 --neurons 16
memories --clusters 4 --layer 1
memories --prompt "{PROMPT}"
sparsity --tokens 200
sparsity --tokens 200 --basis
directions "woman,man" "queen,king"
directions -r country_language --prompt "The language of Japan is" --layer 2
concepts "Michael Jordan" "Michael Jackson" -c Michael
atlas build -o atlas --tokens 500
atlas summary atlas
atlas find atlas basketball
atlas find atlas --kind dead
atlas show atlas L1N37
atlas query atlas "SELECT layer, word FROM values LIMIT 2"
atlas export atlas -o neurons --model-id demo --layer 0
census
circuits attention "{PROMPT}" --head L0H1
circuits compose
circuits compose --part L1N126 --top 2
circuits fact "{PROMPT}"
circuits fact --known 5
circuits heads --samples 1 --length 4
circuits induction --samples 1 --length 4
circuits paths "{PROMPT}" --order 1 --top 3
circuits paths "Osaka is a city in" --corrupted "Lyon is a city in" --top 3
circuits paths "{PROMPT}" --importance --text text.txt
circuits paths "Osaka is a city in" --corrupted "Lyon is a city in" --from L0H1 --to L1H0.q
circuits tokens L0H1
circuits tokens L0H1 --source " painter"
circuits train -o trained --steps 2 --batch 2 --context 16
circuits small bigrams --steps 2
circuits small skips --steps 2
circuits small induction --steps 2
circuits small phase --steps 2
circuits small sizes --steps 2
circuits small bases --steps 2
dictionaries show demo:mlp_out.3 --tokens 200
dictionaries judge demo:mlp_out.3 --tokens 500
dictionaries read demo:mlp_out.3 120 --tokens 500
dictionaries facts demo:mlp_out.3 --count 2 --samples 1
dictionaries edits demo:mlp_out.0 -n 1
dictionaries isolate demo:mlp_out.0 -n 4
dictionaries graph "{PROMPT}" --followed 8 --tested 2
dictionaries train --point mlp_out.3 --steps 2 --width 0.25 --batch 64 --save d.safetensors
dictionaries convert demo:mlp_out.3 for-saelens --format saelens
superposition attack {TOY}
superposition bounds --angle 89
superposition bounds
superposition bounds --count 10000
superposition computation -n 4 --neurons 3 --steps 5 --density 0.5
superposition correlated --runs 1 --steps 5
superposition geometry {TOY}
superposition interference -d 8 -m 12 -k 1 -k 2 --trials 3 --steps 5
superposition pack -d 8 -n 9 --steps 5
superposition pack -d 16
superposition phase --size 2 --runs 1 --steps 5
superposition toy {TOY}
superposition video -n 20 -d 4
superposition weights --sample 200
survey plan --tokens 500 -o plan.json
survey run plan.json --states shares --share 0/1
survey merge plan.json shares
write capacity -d 8 --facts 4 --method random-relu
write capacity -d 8 --facts 4 --facts 8 --method random-relu
write fullness --neurons 4 --facts 20
write gate
write gate --size gpt2 --names 4
write install --count 4
write planted --subjects 4
write planted --subjects 4 --score --count 2
write store -n 8 -d 8 --facts 8 --method random-relu
doctor
lessons
lessons 3 --set dim=20 --out lesson.html
demo --edits 1 --out story
cache show
cache clear gguf
explore --export site --prompt "{PROMPT}" --atlas atlas
"""
"""One a line; a command may stand there more than once, where it prints several documents."""

VERBS: list[tuple[str, dict[str, Any]]] = [
    ("about", {}),
    ("weights", {}),
    ("lens_grid", {"prompt": PROMPT, "top": 2}),
    ("neurons", {"prompt": PROMPT}),
    ("histogram", {"neuron": "L0N21", "tokens": 500}),
    ("firing", {"neuron": "L0N21", "text": PROMPT}),
    ("scale", {"neuron": "L0N21", "factor": 0}),
    ("promoting", {"word": "basketball", "top": 2}),
    ("attention_top", {"text": PROMPT, "layer": 1}),
    ("labels", {"neuron": "L0N21", "top": 3}),
    ("pair", {"head": "L0H1", "source": "Jordan", "destination": "sport"}),
    ("planted", {"subjects": 4}),
]
"""Questions of the explorer that no command asks; the others answer as their commands do."""
FILES = {
    "loci.atlas/1": "`provenance.json` of an atlas's folder",
    "loci.delta/1": "metadata of a changed-weights file, `loci patch export --format delta`",
    "loci.dictionary/1": "metadata of a dictionary's file",
    "loci.gguf_undo/1": "metadata of `*.loci-undo` beside an edited GGUF file",
    "loci.undo/1": "metadata of `loci-undo.safetensors` in an edited folder",
    "loci.survey/1": "a plan of a survey, also printed by `loci survey plan`",
    "loci.survey_state/1": "metadata of the states of a survey",
    "loci.traces/1": "first line of `loci trace --resume`",
    "loci.small/1": "`training.json` of a folder of `loci circuits train`",
    "loci.explorer_site/1": "`data/answers.json` of an exported site",
}
"""Schemas of files; some are documents of commands too."""
MESSAGES: dict[str, str] = {
    "loci.explorer/1": "what the explorer's page begins with",
    "loci.job/1": "state of a job of the explorer's API",
    "loci.patches/1": "list of the explorer's patches",
    "loci.adapter/1": "the explorer's export of a patch as a PEFT adapter",
    "loci.attribution/1": "`loci.neuron_attribution` in Python",
    "loci.cases/1": "metadata of `loci audit --cases FILE.parquet`",
    "loci.dictionary_recovery/1": "`loci.dictionaries.recovery` in Python",
    "loci.dictionary_trainings/1": "`loci.dictionaries.train` of several dictionaries in Python",
    "loci.edited_folder/1": "the explorer's export of an edited folder",
}
"""Schemas of what is neither."""
