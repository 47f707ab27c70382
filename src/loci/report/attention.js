// Hover over a token: what it looks at, in the head that is lit; click holds it. The other way round with "looked at by".
for (const root of document.querySelectorAll(".attention")) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const spans = [...root.querySelectorAll(".text span")];
  const said = root.querySelector(".said");
  const state = { head: data.heads[0], weight: "plain", side: "looks at", token: spans.length - 1, held: false };

  const row = (i) => {
    const grid = data[state.weight][state.head];
    return state.side === "looks at" ? grid[i] : grid.map((line) => line[i]);
  };
  const paint = () => {
    const top = Math.max(...data[state.weight][state.head].flat()) || 1;
    const values = row(state.token);
    spans.forEach((span, j) => {
      span.style.background = `rgba(47, 95, 179, ${0.85 * Math.min(1, (values[j] || 0) / top)})`;
      span.style.color = values[j] / top > 0.5 ? "#fff" : "";
      span.classList.toggle("held", j === state.token);
      span.title = (values[j] || 0).toFixed(3);
    });
    const best = values.map((x, j) => [x, j]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    const words = best.map(([x, j]) => `“${data.tokens[j].trim()}” ${x.toFixed(2)}`).join(", ");
    said.textContent = `${state.head}: “${data.tokens[state.token].trim()}” ${state.side} ${words}`;
    for (const button of root.querySelectorAll("button")) button.classList.toggle("on", state[button.dataset.key] === button.value);
  };
  spans.forEach((span, i) => {
    span.addEventListener("mouseenter", () => { if (!state.held) { state.token = i; paint(); } });
    span.addEventListener("click", () => { state.held = !(state.held && state.token === i); state.token = i; paint(); });
  });
  for (const button of root.querySelectorAll("button"))
    button.addEventListener("click", () => { state[button.dataset.key] = button.value; paint(); });
  paint();
}
