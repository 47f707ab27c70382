"""A fact traced, read, edited and audited, cell by cell: run it as a script, or cell by cell in an
editor that knows `# %%`.

In a notebook the last line of a cell shows itself: words, then the figure.
"""

# %% A model and a fact
import loci

model = loci.open("demo")
prompt = "Michael Jordan plays the sport of"
print(model.generate(prompt, 1))

# %% Where is it?
grid = loci.trace(model, prompt)
print(grid.peak("mlp"))
grid.save("trace.html")

# %% What would it say after each layer?
print([round(rung.prob, 2) for rung in loci.lens(model, prompt).layers])

# %% Which neurons, and what does one hold?
print(loci.neuron_attribution(model, prompt, steps=4).top(3))
card = loci.read(
    model,
    "L1N126",
    ["Gary Payton plays the sport of basketball.", "Osaka is a city in the country of Japan."],
)
print(card.promotes[:3], [trigger.token for trigger in card.triggers[:3]])

# %% Give it another answer: a value, the model is untouched
fact = loci.load_facts("more.csv")[0]
patch = loci.edit(model, fact)
with patch.applied(model):
    print(fact.text + model.generate(fact.text, 5))
print(fact.text + model.generate(fact.text, 5))

# %% What else did that touch?
audit = loci.audit(model, patch, loci.known_facts())
print({name: str(estimate) for name, estimate in audit.metrics.items() if estimate.n})
audit.save("audit.html")
patch.save("more.safetensors")
