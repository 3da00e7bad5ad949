// Draws the plain part of a Plotly figure (scatter, bar, heat maps with a colour scale of their own,
// shapes, annotations on one pair of axes)
// as SVG text. A pure function of the figure and a size: no DOM, no layout reads, so that a redraw
// costs a few milliseconds where plotly.js takes 10 to 20 for each figure.

const TRACES = new Set(["scatter", "bar", "heatmap"]);
const SHAPES = new Set(["line", "rect"]);
const AXES = new Set([undefined, "-", "linear", "log", "category"]);
const DASH = { solid: "", dot: "2 3", dash: "7 5", longdash: "12 6", dashdot: "7 4 2 4" };

/** Whether `drawFigure` can draw this figure; the others go to plotly.js. */
export function isPlain(figure) {
  const layout = figure.layout ?? {};
  return (
    (figure.data ?? []).every(
      (t) =>
        TRACES.has(t.type ?? "scatter") &&
        [undefined, "x"].includes(t.xaxis) &&
        [undefined, "y"].includes(t.yaxis) &&
        [undefined, "none", "toself"].includes(t.fill) && !t.error_x && !t.error_y &&
        (t.type !== "heatmap" || (Array.isArray(t.colorscale) && t.x && t.y && !t.texttemplate)),
    ) &&
    (layout.shapes ?? []).every((s) => SHAPES.has(s.type)) &&
    AXES.has(layout.xaxis?.type) &&
    AXES.has(layout.yaxis?.type)
  );
}

export const escapeText = (text) =>
  String(text ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

// Titles and labels may carry Plotly's <b>, <i>, <br>; SVG text gets the words only.
const words = (text) =>
  escapeText(String(text ?? "").replace(/<br\s*\/?>/g, " ").replace(/<\/?(b|i|sub|sup)>/g, ""));

const at = (value, i) => (Array.isArray(value) ? value[i] : value);
const px = (number) => Math.round(number * 10) / 10;
const textWidth = (text, size) => 0.56 * size * String(text ?? "").length;

/** Ticks at round numbers inside [lo, hi], about `wanted` of them. */
export function linearTicks(lo, hi, wanted) {
  const raw = (hi - lo) / Math.max(1, wanted);
  if (!(raw > 0)) return [lo];
  const decade = 10 ** Math.floor(Math.log10(raw));
  const step = decade * ([1, 2, 5, 10].find((m) => m * decade >= raw * 0.999) ?? 10);
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

/** Ticks of a log axis whose ends are powers `lo`, `hi` of ten. */
export function logTicks(lo, hi) {
  const span = hi - lo;
  const steps = span > 3 ? [1] : span > 1.2 ? [1, 3] : span > 0.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const ticks = [];
  for (let d = Math.floor(lo); d <= Math.ceil(hi); d++) {
    for (const m of steps) {
      const v = Math.log10(m) + d;
      if (v >= lo - 1e-9 && v <= hi + 1e-9) ticks.push(Number((m * 10 ** d).toPrecision(6)));
    }
  }
  return ticks;
}

const tickText = (value) =>
  Math.abs(value) >= 10000
    ? value.toLocaleString("en", { maximumFractionDigits: 0 })
    : String(Number(value.toPrecision(6)));

/** One axis: `to(value)` in pixels, `ticks` as [value, text]. */
function makeAxis(spec, values, from, to, horizontal, zero) {
  const numbers = values.filter((v) => typeof v === "number" && Number.isFinite(v));
  const type =
    spec.type && spec.type !== "-"
      ? spec.type
      : values.some((v) => typeof v === "string") ? "category" : "linear";
  if (type === "category") {
    const names = [...new Set([...(spec.categoryarray ?? []), ...values.filter((v) => v != null)])];
    let [lo, hi] = spec.range ?? [-0.5, names.length - 0.5];
    if (spec.autorange === "reversed") [lo, hi] = [hi, lo];
    const scale = (k) => from + ((k - lo) / (hi - lo || 1)) * (to - from);
    const index = new Map(names.map((n, k) => [n, k]));
    return {
      type, unit: Math.abs(scale(1) - scale(0)),
      to: (v) => scale(index.has(v) ? index.get(v) : Number(v)),
      ticks: names.map((n) => [n, String(n)]),
    };
  }
  const log = type === "log";
  const map = (v) => (log ? Math.log10(v) : v);
  let lo, hi;
  if (spec.range) [lo, hi] = spec.range;
  else {
    const mapped = numbers.filter((v) => !log || v > 0).map(map);
    lo = mapped.length ? Math.min(...mapped) : 0;
    hi = mapped.length ? Math.max(...mapped) : 1;
    if (zero && !log) [lo, hi] = [Math.min(0, lo), Math.max(0, hi)];
    const pad = (hi - lo || Math.abs(hi) || 1) * 0.06;
    if (!(zero && lo === 0)) lo -= pad;
    hi += pad;
    if (spec.autorange === "reversed") [lo, hi] = [hi, lo];
  }
  const scale = (v) => from + ((map(v) - lo) / (hi - lo || 1)) * (to - from);
  const wanted = Math.max(2, Math.abs(to - from) / (horizontal ? 80 : 45));
  let ticks;
  if (spec.tickvals) {
    const [a, b] = [Math.min(lo, hi), Math.max(lo, hi)];
    ticks = spec.tickvals
      .map((v, k) => [v, String(at(spec.ticktext, k) ?? tickText(v))])
      .filter(([v]) => map(v) >= a - 1e-9 && map(v) <= b + 1e-9);
  } else {
    const [a, b] = [Math.min(lo, hi), Math.max(lo, hi)];
    ticks = (log ? logTicks(a, b) : linearTicks(a, b, wanted)).map((v) => [v, tickText(v)]);
  }
  const suffix = spec.ticksuffix ?? "";
  return {
    type, unit: Math.abs(scale(1) - scale(0)), to: scale,
    ticks: ticks.map(([v, t]) => [v, t + suffix]),
  };
}

/** SVG path of a marker centred on (0, 0) whose size is about `d` pixels. */
function symbolPath(symbol, d) {
  const r = d / 2;
  const name = String(symbol ?? "circle").replace(/-open$/, "");
  const polygon = (points) => "M" + points.map((p) => p.map(px).join(",")).join("L") + "Z";
  const round = (n, radius, turn = -Math.PI / 2) =>
    Array.from({ length: n }, (_, k) => {
      const a = turn + (2 * Math.PI * k) / n, q = Array.isArray(radius) ? radius[k % 2] : radius;
      return [q * Math.cos(a), q * Math.sin(a)];
    });
  switch (name) {
    case "square": return polygon([[-r, -r], [r, -r], [r, r], [-r, r]]);
    case "diamond": return polygon(round(4, 1.3 * r));
    case "triangle-up": return polygon(round(3, 1.25 * r));
    case "triangle-down": return polygon(round(3, 1.25 * r, Math.PI / 2));
    case "star": return polygon(round(10, [1.4 * r, 0.55 * r]));
    case "x": return `M${-r},${-r}L${r},${r}M${-r},${r}L${r},${-r}`;
    case "cross": return `M${-r},0L${r},0M0,${-r}L0,${r}`;
    case "line-ns": return `M0,${-r}L0,${r}`;
    default: return `M${px(-r)},0A${px(r)},${px(r)} 0 1 1 ${px(r)},0A${px(r)},${px(r)} 0 1 1 ${px(-r)},0Z`;
  }
}

function markerStyle(trace, i, color) {
  const marker = trace.marker ?? {};
  const symbol = at(marker.symbol, i) ?? "circle";
  const stroked = /-open$|^x$|^cross$|^line-ns$/.test(symbol);
  const line = marker.line ?? {};
  // a line-ns is all outline, and has its colour
  const own = (symbol === "line-ns" ? at(line.color, i) : null) ?? at(marker.color, i) ?? color;
  const width = at(line.width, i) ?? (stroked ? 1.8 : 0);
  return {
    path: symbolPath(symbol, at(marker.size, i) ?? 7),
    style:
      `fill="${stroked ? "none" : own}" stroke="${stroked ? own : at(line.color, i) ?? own}" ` +
      `stroke-width="${width}" opacity="${at(marker.opacity, i) ?? trace.opacity ?? 1}"`,
  };
}

function linePath(points, shape) {
  let path = "", last = null;
  for (const p of points) {
    if (!p) { last = null; continue; }
    if (!last) path += `M${px(p[0])},${px(p[1])}`;
    else if (shape === "hv") path += `H${px(p[0])}V${px(p[1])}`;
    else if (shape === "vh") path += `V${px(p[1])}H${px(p[0])}`;
    else path += `L${px(p[0])},${px(p[1])}`;
    last = p;
  }
  return path;
}

function drawScatter(trace, color, X, Y) {
  const mode = trace.mode ?? "lines+markers";
  const xs = trace.x ?? (trace.y ?? []).map((_, i) => i), ys = trace.y ?? [];
  const points = xs.map((x, i) => {
    const p = x == null || ys[i] == null ? null : [X.to(x), Y.to(ys[i])];
    return p && p.every(Number.isFinite) ? p : null;
  });
  let svg = "";
  if (mode.includes("lines")) {
    const line = trace.line ?? {};
    svg +=
      `<path d="${linePath(points, line.shape)}" fill="${trace.fill === "toself" ? trace.fillcolor ?? color : "none"}" ` +
      `stroke="${line.color ?? color}" ` +
      `stroke-width="${line.width ?? 2}" stroke-dasharray="${DASH[line.dash] ?? line.dash ?? ""}" ` +
      `opacity="${trace.opacity ?? 1}"/>`;
  }
  points.forEach((p, i) => {
    if (!p) return;
    if (mode.includes("markers")) {
      const { path, style } = markerStyle(trace, i, color);
      const tip = at(trace.hovertext, i);
      svg +=
        `<path d="${path}" transform="translate(${px(p[0])},${px(p[1])})" ${style}` +
        (tip ? ` data-tip="${escapeText(tip)}"` : "") + "/>";
    }
    const text = mode.includes("text") && at(trace.text, i);
    if (text) {
      const place = at(trace.textposition, i) ?? "middle center";
      const anchor = place.includes("left") ? "end" : place.includes("right") ? "start" : "middle";
      const dx = anchor === "start" ? 9 : anchor === "end" ? -9 : 0;
      const dy = place.includes("top") ? -10 : place.includes("bottom") ? 18 : 4;
      svg +=
        `<text x="${px(p[0] + dx)}" y="${px(p[1] + dy)}" text-anchor="${anchor}" ` +
        `fill="${trace.textfont?.color ?? "currentColor"}" font-size="${trace.textfont?.size ?? 12}">` +
        `${words(text)}</text>`;
    }
  });
  return svg;
}

/** The colour of `share`, 0 to 1, on a scale of [share, "#rrggbb"], ascending. */
export function colorAt(scale, share) {
  const k = Math.max(1, scale.findIndex(([s]) => s >= share));
  const [[s0, from], [s1, to]] = [scale[k - 1], scale[k]];
  const part = Math.min(1, Math.max(0, (share - s0) / (s1 - s0 || 1)));
  const mixed = [1, 3, 5].map((i) => {
    const [a, b] = [from, to].map((hex) => parseInt(hex.slice(i, i + 2), 16));
    return Math.round(a + part * (b - a)).toString(16).padStart(2, "0");
  });
  return "#" + mixed.join("");
}

/** A heat map's lowest and highest value. */
function heatRange(trace) {
  const values = trace.z.flat().filter((v) => v != null);
  return [trace.zmin ?? Math.min(...values), trace.zmax ?? Math.max(...values)];
}

function drawHeatmap(trace, X, Y) {
  const [lo, hi] = heatRange(trace);
  const width = X.unit - (trace.xgap ?? 0), height = Y.unit - (trace.ygap ?? 0);
  return trace.z
    .map((row, r) =>
      row
        .map((z, c) => {
          if (z == null) return "";
          const tip = trace.hovertext?.[r]?.[c];
          return (
            `<rect x="${px(X.to(trace.x[c]) - width / 2)}" y="${px(Y.to(trace.y[r]) - height / 2)}" ` +
            `width="${px(width)}" height="${px(height)}" fill="${colorAt(trace.colorscale, (z - lo) / (hi - lo || 1))}"` +
            (tip ? ` data-tip="${escapeText(tip)}"` : "") + "/>"
          );
        })
        .join(""),
    )
    .join("");
}

/** Room for a heat map's colour bar, to the right of the plot. */
const COLORBAR = 74;

function drawColorbar(trace, left, top, bottom, size) {
  const bar = trace.colorbar ?? {}, [lo, hi] = heatRange(trace), steps = 24;
  const title = String(bar.title?.text ?? "").split(/<br\s*\/?>/);
  const head = top + title.length * (size + 2) + size, high = (bottom - head) / steps;
  let svg = title
    .map((line, k) => `<text x="${left}" y="${top + (k + 0.7) * (size + 2)}" font-size="${size}">${words(line)}</text>`)
    .join("");
  for (let k = 0; k < steps; k++) {
    const y = bottom - (k + 1) * high;
    svg += `<rect x="${left}" y="${px(y)}" width="14" height="${px(high + 0.5)}" fill="${colorAt(trace.colorscale, (k + 0.5) / steps)}"/>`;
  }
  const ticks = bar.tickvals ?? linearTicks(lo, hi, 5);
  const text = (v) => (bar.tickformat === ".0%" ? `${Math.round(100 * v)}%` : tickText(v));
  ticks.forEach((v, k) => {
    const y = bottom - ((v - lo) / (hi - lo || 1)) * (bottom - head);
    svg += `<text x="${left + 18}" y="${px(y + size / 3)}" font-size="${size}">${words(at(bar.ticktext, k) ?? text(v))}</text>`;
  });
  return svg;
}

/** Where each bar of each trace starts and ends along the value axis, and across it. */
function barSpans(traces, mode) {
  const sums = new Map();
  return traces.map((trace, order) => {
    const flat = trace.orientation === "h";
    const at_ = flat ? trace.y ?? [] : trace.x ?? [], values = flat ? trace.x ?? [] : trace.y ?? [];
    return at_.map((place, i) => {
      let start = at(trace.base, i) ?? 0;
      if (mode === "stack" || mode === "relative") {
        start = sums.get(place) ?? start;
        sums.set(place, start + (values[i] ?? 0));
      }
      const total = mode === "group" ? traces.length : 1;
      const wide = at(trace.width, i) ?? 0.8 / total;
      const shift = trace.width == null && total > 1 ? (order - (total - 1) / 2) * wide : 0;
      return values[i] == null ? null : { place, start, end: start + values[i], wide, shift };
    });
  });
}

function drawBars(trace, spans, color, X, Y, size) {
  const flat = trace.orientation === "h";
  const [along, across] = flat ? [X, Y] : [Y, X];
  return spans
    .map((span, i) => {
      if (!span) return "";
      const a = along.to(span.start), b = along.to(span.end);
      const middle = across.to(span.place) + span.shift * across.unit;
      const half = (span.wide * across.unit) / 2;
      const low = Math.min(a, b), length = Math.abs(b - a);
      const box = flat ? [low, middle - half, length, 2 * half] : [middle - half, low, 2 * half, length];
      const fill = at(trace.marker?.color, i) ?? color, edge = trace.marker?.line ?? {};
      const tip = at(trace.hovertext, i);
      const [x, y, w, h] = box.map(px);
      let svg =
        `<rect x="${x}" y="${y}" width="${w}" height="${h}" fill="${fill}" ` +
        `opacity="${at(trace.marker?.opacity, i) ?? trace.opacity ?? 1}" ` +
        `stroke="${at(edge.color, i) ?? "none"}" stroke-width="${at(edge.width, i) ?? 0}"` +
        (tip ? ` data-tip="${escapeText(tip)}"` : "") + "/>";
      let text = trace.textposition !== "none" && at(trace.text, i);
      if (text) {
        const inside = trace.textposition === "inside" || trace.textposition === "auto";
        const fits = (words) => textWidth(words, size) < w - 4 && h > size;
        // a name before a colon does where name and number are too wide
        if (inside) text = [text, String(text).split(":")[0]].find(fits);
        if (text) {
          const tx = inside ? x + w / 2 : flat ? x + w + 4 : x + w / 2;
          const ty = inside || flat ? y + h / 2 + size / 3 : y - 4;
          const ink = inside ? trace.textfont?.color ?? "#fff" : trace.textfont?.color ?? "currentColor";
          svg +=
            `<text x="${px(tx)}" y="${px(ty)}" font-size="${size}" fill="${ink}" ` +
            `text-anchor="${inside || !flat ? "middle" : "start"}" pointer-events="none">${words(text)}</text>`;
        }
      }
      return svg;
    })
    .join("");
}

/** Legend entries in rows of HTML-free SVG; returns [svg, height]. */
function drawLegend(entries, left, width, size) {
  let x = left, y = 0, svg = "";
  for (const { trace, color } of entries) {
    const label = String(trace.name ?? ""), needs = 26 + textWidth(label, size) + 14;
    if (x > left && x + needs > left + width) { x = left; y += size + 8; }
    const middle = y + size / 2 + 2;
    if (trace.type === "bar") {
      svg += `<rect x="${x}" y="${y + 2}" width="14" height="${size}" fill="${at(trace.marker?.color, 0) ?? color}"/>`;
    } else {
      const mode = trace.mode ?? "lines+markers";
      if (mode.includes("lines")) {
        svg +=
          `<path d="M${x},${middle}h20" stroke="${trace.line?.color ?? color}" fill="none" ` +
          `stroke-width="${trace.line?.width ?? 2}" stroke-dasharray="${DASH[trace.line?.dash] ?? ""}"/>`;
      }
      if (mode.includes("markers")) {
        const { path, style } = markerStyle(trace, 0, color);
        svg += `<path d="${path}" transform="translate(${x + 10},${middle})" ${style}/>`;
      }
    }
    svg += `<text x="${x + 25}" y="${y + size}" font-size="${size}">${words(label)}</text>`;
    x += needs;
  }
  return [svg, y + size + 8];
}

/**
 * The figure as the text of an <svg> element, `width` by `height` pixels.
 * The figure's template gives fonts and colours, as in Plotly.
 */
export function drawFigure(figure, width, height) {
  const template = figure.layout?.template?.layout ?? {};
  const layout = { ...template, ...figure.layout };
  const xspec = { ...template.xaxis, ...layout.xaxis }, yspec = { ...template.yaxis, ...layout.yaxis };
  const size = layout.font?.size ?? template.font?.size ?? 13;
  const ink = layout.font?.color ?? template.font?.color ?? "#222";
  const grid = xspec.gridcolor ?? "#e3e3e3";
  const colors = layout.colorway ?? ["#0072B2"];
  const traces = (figure.data ?? [])
    .map((trace, i) => ({
      trace,
      color: trace.marker?.color && !Array.isArray(trace.marker.color)
        ? trace.marker.color : trace.line?.color ?? colors[i % colors.length],
    }))
    .filter(({ trace }) => trace.visible !== false);
  const bars = traces.filter(({ trace }) => trace.type === "bar");
  const spans = barSpans(bars.map((b) => b.trace), layout.barmode ?? "group");

  // What the axes must show.
  const xs = [], ys = [];
  for (const { trace } of traces) {
    if (trace.type === "bar") continue;
    xs.push(...(trace.x ?? []));
    ys.push(...(trace.y ?? []));
  }
  bars.forEach(({ trace }, k) =>
    spans[k].forEach((s) => {
      if (!s) return;
      (trace.orientation === "h" ? ys : xs).push(s.place);
      (trace.orientation === "h" ? xs : ys).push(s.start, s.end);
    }),
  );
  const flat = bars.some(({ trace }) => trace.orientation === "h");

  // Room around the plot, estimated from text lengths: measuring text would force a layout.
  const title = layout.title?.text ?? "", subtitle = layout.title?.subtitle?.text ?? "";
  const entries = layout.showlegend === false
    ? [] : traces.filter(({ trace }) => trace.name && trace.showlegend !== false);
  const top0 = title ? 24 + (subtitle ? 18 : 0) : 6;
  const [legend, legendHeight] = entries.length ? drawLegend(entries, 8, width - 16, size - 1) : ["", 0];
  const top = top0 + legendHeight + 8, bottom = 46;
  const probe = makeAxis(yspec, ys, height - bottom, top, false, bars.length > 0 && !flat);
  const labels = Math.max(...probe.ticks.map(([, t]) => textWidth(t, size - 1)), 10);
  const left = Math.min(labels + 16 + (yspec.title?.text ? 20 : 0), width * 0.42);
  const scaled = traces.find(({ trace }) => trace.type === "heatmap" && trace.showscale !== false);
  const right = width - 14 - (scaled ? COLORBAR : 0);
  const X = makeAxis(xspec, xs, left, right, true, bars.length > 0 && flat);
  const Y = makeAxis(yspec, ys, height - bottom, top, false, bars.length > 0 && !flat);

  const parts = [];
  parts.push(
    `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${width} ${height}" font-family="${escapeText(layout.font?.family ?? "sans-serif")}" ` +
    `font-size="${size}" color="${ink}" fill="${ink}" ` +
    `aria-label="${escapeText([title, subtitle].filter(Boolean).join(". ").replace(/<[^>]*>/g, " "))}">`,
  );
  if (title) parts.push(`<text x="8" y="17" font-size="${size + 2}" font-weight="600">${words(title)}</text>`);
  if (subtitle) parts.push(`<text x="8" y="35" font-size="${size - 1}" opacity="0.75">${words(subtitle)}</text>`);
  if (legend) parts.push(`<g transform="translate(0,${top0})">${legend}</g>`);

  // Grid and ticks; category labels that would overlap are thinned or, on a vertical axis, cut.
  const crowd = X.type === "category"
    ? Math.ceil(Math.max(...X.ticks.map(([, t]) => textWidth(t, size - 1)), 1) / Math.max(X.unit - 4, 1)) : 1;
  X.ticks.forEach(([v, t], k) => {
    const x = px(X.to(v));
    if (xspec.showgrid !== false && X.type !== "category") {
      parts.push(`<path d="M${x},${top}V${height - bottom}" stroke="${grid}"/>`);
    }
    if (k % crowd === 0) {
      parts.push(`<text x="${x}" y="${height - bottom + 17}" text-anchor="middle" font-size="${size - 1}">${words(t)}</text>`);
    }
  });
  const room = Math.floor((left - (yspec.title?.text ? 26 : 10)) / (0.56 * (size - 1)));
  Y.ticks.forEach(([v, t]) => {
    const y = px(Y.to(v)), shown = t.length > room + 1 ? t.slice(0, room) + "…" : t;
    if (yspec.showgrid !== false && Y.type !== "category") {
      parts.push(`<path d="M${left},${y}H${right}" stroke="${grid}"/>`);
    }
    parts.push(`<text x="${left - 7}" y="${y + 4}" text-anchor="end" font-size="${size - 1}">${words(shown)}</text>`);
  });
  parts.push(`<path d="M${left},${top}V${height - bottom}H${right}" fill="none" stroke="#888"/>`);
  if (xspec.title?.text) {
    parts.push(`<text x="${px((left + right) / 2)}" y="${height - 9}" text-anchor="middle">${words(xspec.title.text)}</text>`);
  }
  if (yspec.title?.text) {
    const y = px((top + height - bottom) / 2);
    parts.push(`<text transform="translate(16,${y}) rotate(-90)" text-anchor="middle">${words(yspec.title.text)}</text>`);
  }

  // Marks, kept inside the plot.
  const clip = `clip-${Math.random().toString(36).slice(2)}`;
  parts.push(
    `<clipPath id="${clip}"><rect x="${left - 1}" y="${top - 9}" width="${right - left + 15}" ` +
    `height="${height - bottom - top + 18}"/></clipPath><g clip-path="url(#${clip})">`,
  );
  const place = (ref, axis, v, lo, hi) => (ref === "paper" ? lo + v * (hi - lo) : axis.to(v));
  const shapeAt = (s, x, y) => [
    place(s.xref, X, x, left, right), place(s.yref, Y, y, height - bottom, top),
  ];
  for (const { trace, color } of traces) {
    if (trace.type === "bar") {
      const k = bars.findIndex((b) => b.trace === trace);
      parts.push(drawBars(trace, spans[k], color, X, Y, size - 2));
    } else if (trace.type === "heatmap") parts.push(drawHeatmap(trace, X, Y));
    else parts.push(drawScatter(trace, color, X, Y));
  }
  for (const shape of layout.shapes ?? []) {
    const [x0, y0] = shapeAt(shape, shape.x0, shape.y0), [x1, y1] = shapeAt(shape, shape.x1, shape.y1);
    const stroke =
      `stroke="${shape.line?.color ?? ink}" stroke-width="${shape.line?.width ?? 2}" ` +
      `stroke-dasharray="${DASH[shape.line?.dash] ?? ""}" opacity="${shape.opacity ?? 1}"`;
    parts.push(
      shape.type === "line"
        ? `<path d="M${px(x0)},${px(y0)}L${px(x1)},${px(y1)}" fill="none" ${stroke}/>`
        : `<rect x="${px(Math.min(x0, x1))}" y="${px(Math.min(y0, y1))}" width="${px(Math.abs(x1 - x0))}" ` +
          `height="${px(Math.abs(y1 - y0))}" fill="${shape.fillcolor ?? "none"}" ${stroke}/>`,
    );
  }
  parts.push("</g>");
  if (scaled) parts.push(drawColorbar(scaled.trace, right + 14, top, height - bottom, size - 2));
  for (const note of layout.annotations ?? []) {
    // On a log axis Plotly places annotations, unlike shapes, by the logarithm.
    const own = (axis, ref, v) => (axis.type === "log" && ref !== "paper" ? 10 ** v : v);
    const [x, y] = shapeAt(note, own(X, note.xref, note.x), own(Y, note.yref, note.y));
    const anchor = { left: "start", right: "end" }[note.xanchor] ?? "middle";
    const dy = { top: size, bottom: -4 }[note.yanchor] ?? size / 3;
    parts.push(
      `<text x="${px(x + (note.xshift ?? 0))}" y="${px(y + dy - (note.yshift ?? 0))}" text-anchor="${anchor}" ` +
      `fill="${note.font?.color ?? ink}" font-size="${note.font?.size ?? size - 1}" ` +
      `paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round">${words(note.text)}</text>`,
    );
  }
  parts.push("</svg>");
  return parts.join("");
}
