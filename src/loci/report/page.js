// Draws each figure of the page with the layout that fits its width; panels stand one below the other on narrow screens.
(function () {
  const NARROW = 700;
  const config = { displayModeBar: false, responsive: true };
  function draw(node, state) {
    const narrow = node.clientWidth < NARROW && state.figure.narrow !== null;
    if (state.narrow === narrow) return;
    state.narrow = narrow;
    const { data, layout, narrow: slim, domains } = state.figure;
    const shown = narrow ? data.map((trace, i) => (i in domains ? { ...trace, domain: domains[i] } : trace)) : data;
    Plotly.react(node, shown, structuredClone(narrow ? slim : layout), config);
  }
  for (const node of document.querySelectorAll(".plotly-graph-div")) {
    const state = { figure: JSON.parse(node.nextElementSibling.textContent), narrow: null };
    draw(node, state);
    new ResizeObserver(() => draw(node, state)).observe(node);
  }
})();
