// The browser's half of FigureView: readout, progress, messages and figures of one explorer.
// A turn of a knob arrives as one change of the model and is drawn in one go.

/** plotly.js, asked of the kernel (nothing is fetched from the network), once for a page. */
function loadPlotly(model) {
  globalThis.__tinykitPlotly ??= new Promise((resolve, reject) => {
    const answer = (message, buffers) => {
      if (message?.type !== "plotly.js") return;
      model.off("msg:custom", answer);
      try {
        const source = new TextDecoder().decode(buffers[0]);
        const module = { exports: {} };
        new Function("module", "exports", source)(module, module.exports);
        resolve(module.exports);
      } catch (error) {
        reject(error);
      }
    };
    model.on("msg:custom", answer);
    model.send({ type: "plotly.js" });
  });
  return globalThis.__tinykitPlotly;
}

function element(tag, className, parent, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent.append(node);
  return node;
}

function render({ model, el }) {
  el.classList.add("tinykit-view");
  const alert = element("p", "tinykit-alert", el, { role: "alert" });
  const readout = element("p", "tinykit-readout", el, { role: "status", "aria-live": "polite" });
  const work = element("div", "tinykit-work", el);
  const workText = element("span", "", work), bar = element("progress", "", work, { max: "1" });
  const grid = element("div", "tinykit-grid", el);
  const panels = element("div", "tinykit-panels", el);
  const tip = element("div", "tinykit-tip", el, { "aria-hidden": "true" });
  const boxes = new Map();
  let drawn = null, drawnPanels = null;

  const box = (name) => {
    if (!boxes.has(name)) boxes.set(name, element("div", "tinykit-figure", grid, { "data-figure": name }));
    return boxes.get(name);
  };

  const drawFigures = (force) => {
    const figures = model.get("figures");
    if (figures === drawn && !force) return;
    drawn = figures;
    // All boxes, since one alone is wider; then sizes, then writing: one layout for all figures.
    Object.keys(figures).forEach(box);
    const jobs = Object.entries(figures).map(([name, figure]) => {
      const node = box(name);
      return [node, figure, Math.max(280, node.clientWidth || 600), figure.layout?.height ?? 330];
    });
    for (const [name, node] of boxes) {
      if (!(name in figures)) { node.remove(); boxes.delete(name); }
    }
    for (const [node, figure, width, height] of jobs) {
      if (isPlain(figure)) node.innerHTML = drawFigure(figure, width, height);
      else {
        loadPlotly(model).then((Plotly) => {
          if (model.get("figures") !== figures) return;
          if (!node.classList.contains("js-plotly-plot")) node.replaceChildren();
          Plotly.react(node, figure.data, { ...figure.layout, width, height }, { displaylogo: false });
        });
      }
    }
    tip.style.display = "none";
  };

  const drawWords = () => {
    const status = model.get("status");
    readout.textContent = model.get("readout");
    alert.textContent = status.error ?? "";
    alert.style.display = status.error ? "" : "none";
    work.style.display = status.work == null ? "none" : "";
    workText.textContent = status.work ?? "";
    if (status.fraction == null) bar.removeAttribute("value");
    else bar.value = status.fraction;
    // what is drawn while it is computed is no longer of the turn before
    el.classList.toggle("tinykit-stale", status.work != null && !status.live);
  };

  const drawPanels = () => {
    const texts = model.get("panels");
    if (texts === drawnPanels) return;
    drawnPanels = texts;
    panels.replaceChildren();
    for (const [title, text] of Object.entries(texts)) {
      const panel = element("section", "tinykit-panel", panels, { "aria-label": title });
      element("h4", "", panel).textContent = title;
      // reachable by keyboard: it scrolls
      const listing = element("pre", "", panel, { tabindex: "0" });
      listing.textContent = text;
      scrollToMark(listing);
    }
  };

  /** To the first marked line, with a few of those before it in sight. */
  const scrollToMark = (listing) => {
    const lines = listing.textContent.split("\n"), marked = lines.findIndex((line) => line.includes("▌"));
    if (marked > 8) listing.scrollTop = ((marked - 4) / lines.length) * listing.scrollHeight;
  };

  const draw = () => {
    drawWords();
    drawPanels();
    drawFigures(false);
    el.dataset.turn = model.get("turn");
  };

  grid.addEventListener("pointermove", (event) => {
    const text = event.target.dataset?.tip;
    tip.style.display = text ? "block" : "none";
    if (!text) return;
    tip.innerText = text.replace(/<br\s*\/?>/g, "\n");
    const frame = el.getBoundingClientRect();
    const x = event.clientX - frame.left + 14;
    tip.style.left = `${Math.max(0, Math.min(x, frame.width - tip.offsetWidth - 8))}px`;
    tip.style.top = `${event.clientY - frame.top + 14}px`;
  });
  grid.addEventListener("pointerleave", () => (tip.style.display = "none"));

  let width = 0;
  const resized = new ResizeObserver(() => {
    if (el.clientWidth && el.clientWidth !== width) {
      // what was drawn before there was room had no place to scroll to
      if (!width) panels.querySelectorAll("pre").forEach(scrollToMark);
      width = el.clientWidth;
      drawFigures(true);
    }
  });
  resized.observe(el);
  model.on("change", draw);
  draw();
  return () => {
    resized.disconnect();
    model.off("change", draw);
  };
}

export default { render };
