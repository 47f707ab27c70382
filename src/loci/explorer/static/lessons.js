// Lessons: steps with a text and the view that shows it. The step stands in the address, so that the back button goes a step back.

const PROMPT = "Michael Jordan plays the sport of";

export const LESSONS = {
  facts: {
    title: "How might a language model store facts?",
    about: "From a sentence to the weights that finish it, on the live embedded model: what an MLP looks for, what it writes, why no single neuron holds the fact, and how to change it all the same.",
    demo: true,
    steps: [
      ["The question", "The model finishes this sentence with the right sport. Nobody gave it a table of athletes: whatever it knows stands in its weights. Where?", "ask", { q: PROMPT }],
      ["A vector that grows", "Each token becomes a vector, and every layer adds to it. The grid reads that vector after each layer. Follow the last column upwards: a sport first, then the right one.", "ask", { q: PROMPT, c: "6.6" }],
      ["Hide the name", "Replace the name by noise, and the right answer is no longer the likely one. Now put one state of the clean run back at a time. Where the answer returns, what is known about the name must have stood.", "trace", { q: PROMPT }],
      ["The MLP at the name", "At “Jordan”, in the first layer, attention brings “Michael” over and the MLP makes something of the pair: restoring either brings the answer back. An MLP is two matrices with a nonlinearity between: rows that ask, columns that answer. Its neurons are listed below.", "trace", { q: PROMPT, cell: "0.2" }],
      ["A row asks a question", "One neuron. Its row of the first matrix is a key: the dot product with the vector is large where it finds what it looks for. Here are the words at which it is largest. Write your own.", "neuron", { q: PROMPT, n: "L1N126" }],
      ["The bias shuts, the nonlinearity cuts", "A first name alone must not open the gate. Move the angle of the two names and the bias, and watch the truth table: with perpendicular names and a bias of −1 it is a clean AND. With GELU it never quite closes.", "lab", { angle: 90, bias: -1, act: "relu" }],
      ["A column writes an answer", "When the neuron fires, its column of the second matrix is added to the vector: the words that it promotes and suppresses. Few real neurons are about one thing.", "neuron", { q: PROMPT, n: "L0N21" }],
      ["One neuron, one fact?", "Set this neuron to zero: if it held the fact, the answer would go. It hardly moves. The lesson's neuron is a thought that shows what is possible; what was found in real models is spread over many.", "neuron", { q: PROMPT, n: "L0N21" }],
      ["Room for more than there are dimensions", "Directions need not be exactly perpendicular. In few dimensions random directions meet at any angle; in many, all pairs are nearly perpendicular. Move the slider.", "lab", { dim: 512 }],
      ["How many?", "The number of directions that keep an angle grows exponentially with the dimensions, but the constant matters: the table shows what is known to exist, what is impossible, and which rules of thumb are false.", "lab", { d2: 12288, a2: 89 }],
      ["Change it", "A fact that is spread can be changed all the same: a patch of rank one to one matrix. Write a new answer and make the edit. Then see what else moved.", "edit", { q: PROMPT, s: "Michael Jordan" }],
      ["And back", "Switch the patch off: the weights are those of before, bit for bit, and the page shows their hash. What did the edit prove? That this place suffices to change the fact, not that the fact stood there.", "edit", { q: PROMPT }],
    ],
  },
};
