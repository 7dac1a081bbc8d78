// The page: its state, its controls, and what is drawn. DATA has the networks, the digits and the engine's rules.

const PIXELS = 784, SIDE = 28;
// The largest ε of each norm, chosen so that the slider has an effect.
const MOST = { inf: 0.5, 2: 8, 1: 40 };
const NORMAL = {
  digit: "9", model: "0", along: "gradient", norm: "inf", epsilon: 20, steps: 1, clip: false, darker: false, seed: 1,
  forgetToAdd: false, wrongOrder: false, rounded: false, at: 0, drawing: "", strokes: "", label: "",
};
const FAULTS = {
  forgetToAdd: "The last share of z is all that is left: softmax(z), without the −1 at the label. A step along that "
    + "raises the logits that are high already.",
  wrongOrder: "z goes on with its first share, softmax(z), and once more with the sum when the −1 at the label is there. "
    + "So does everything below it, with sums of sums: in x softmax(z) counts four times, the −1 once.",
  both: "The −1 at the label is the last share that z is given, and that alone goes down last. A step along that lowers "
    + "the label’s logit. Two bugs can hide one another: the numbers are wrong, and the attack may work all the same.",
  lost: "The probability of this digit is so near to 1 that it is rounded to 1. Then 1 − 1 is 0 at the label, and that "
    + "part of the gradient is lost.",
  kept: "This digit’s probability is rounded in the eighth place, and 1 minus it has places enough. Take a digit that the "
    + "network is surer of, a bold 6 of the plain network, say.",
};
const form = document.getElementById("controls");
const byId = id => document.getElementById(id);
let state = { ...NORMAL };

// ---- what was made by Python

function bytes(text) {
  return Array.from(atob(text), character => character.charCodeAt(0));
}

// Weights are whole numbers from −127 to 127, times a number for each column.
function matrix({ rows, columns, values, scales }) {
  const numbers = bytes(values).map((byte, i) => (byte > 127 ? byte - 256 : byte) * scales[i % columns]);
  return { rows, columns, values: Float64Array.from(numbers) };
}

const NETWORKS = DATA.networks.map(net => ({ ...net, W1: matrix(net.W1), W2: matrix(net.W2) }));
const DIGITS = DATA.digits.map(digit => ({ label: digit.label, x: bytes(digit.pixels).map(byte => byte / 255) }));

// ---- the state, and the address

const isOwn = () => state.digit === "own";

// A pixel of a drawing is a digit from 0 to f; one of strokes is 0, 1 or 2, for none, up and down.
const decoded = (text, of) => Array.from({ length: PIXELS }, (_, i) => of(parseInt(text[i], 16) || 0));
const drawing = () => decoded(state.drawing, value => value / 15);
const strokes = () => decoded(state.strokes, value => [0, 1, -1][value] || 0);

function painted(text, place, value) {
  const pixels = text.padEnd(PIXELS, "0").split("");
  pixels[place] = value.toString(16);
  return pixels.join("");
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = { ...NORMAL };
  for (const [name, value] of given) {
    if (!Object.hasOwn(NORMAL, name)) continue;
    const kind = typeof NORMAL[name], number = value.trim() === "" ? NaN : Number(value);
    if (kind === "boolean") state[name] = value === "true";
    else if (kind === "string") state[name] = value.slice(0, PIXELS);
    else if (Number.isFinite(number)) state[name] = number;
  }
  const choices = { model: NETWORKS.map((_, i) => String(i)), along: ["gradient", "random", "hand"],
    norm: Object.keys(MOST), label: ["", ..."0123456789"], digit: [...DIGITS.map((_, i) => String(i)), "own"] };
  for (const [name, known] of Object.entries(choices)) if (!known.includes(state[name])) state[name] = NORMAL[name];
  state.epsilon = Math.min(Math.max(Math.round(state.epsilon), 0), 100);
  state.steps = Math.min(Math.max(Math.round(state.steps), 1), 10);
}

function writeAddress() {
  const changed = Object.entries(state).filter(([name, value]) => value !== NORMAL[name]);
  const hash = new URLSearchParams(changed.map(([name, value]) => [name, String(value)])).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

// ---- what follows from the state

// Strokes have one size, that of a pixel.
const normNow = () => (state.along === "hand" ? "inf" : state.norm);
const best = p => p.indexOf(Math.max(...p));

function computed() {
  const net = NETWORKS[Number(state.model)], norm = normNow(), epsilon = MOST[norm] * state.epsilon / 100;
  const x = isOwn() ? drawing() : DIGITS[Number(state.digit)].x;
  const probabilities = picture => softmax(costOf(net, picture, 0).z.value);
  const before = probabilities(x), named = state.label === "" ? best(before) : Number(state.label);
  const label = isOwn() ? named : DIGITS[Number(state.digit)].label;
  const { forgetToAdd, wrongOrder, rounded, steps, clip } = state, faults = { forgetToAdd, wrongOrder, rounded };
  const cost = costOf(net, x, label, faults), walked = walk(cost.J, faults), gradient = walked.sums.get(cost.x);
  const along = {
    gradient: () => steepest(gradient, norm),
    random: () => steepest(randomNumbers(PIXELS, state.seed), norm),
    hand: strokes,
  }[state.along]();
  // x̃ after one step of any length along this direction.
  const moved = length => {
    const there = x.map((value, i) => value + length * along[i]);
    return clip ? clipped(there) : there;
  };
  const count = state.along !== "gradient" || norm === "1" ? 1 : steps;
  const byGradient = bugs => attack(net, x, label, { epsilon, steps, norm, clip }, bugs);
  const adversarial = state.along === "gradient" ? byGradient(faults) : moved(epsilon);
  const costAt = picture => costOf(net, picture, label).J.value[0];
  return { net, x, label, faults, norm, epsilon, count, cost, walked, gradient, along, moved, byGradient, adversarial, costAt,
    before, after: probabilities(adversarial) };
}

// ---- numbers and pictures

function shown(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
  return text.replace(/-/g, "−");
}
const percent = p => `${(100 * p).toFixed(p > 0.9995 || p < 0.0005 ? 3 : 1)}%`;

// Ink on paper; what lies outside of [0, 1] in the colours of up and down.
function inked(value) {
  if (value > 1) return [0, 0, 0].map((c, i) => c + [190, 40, 30][i] * Math.min(2 * (value - 1), 1));
  if (value < 0) return [255, 255, 255].map((c, i) => c - [205, 140, 40][i] * Math.min(-2 * value, 1));
  return Array(3).fill(255 * (1 - value));
}

// White at 0, red above it, blue below; strongest at the greatest, by the square root.
function signed(greatest) {
  return value => {
    const part = greatest ? Math.sqrt(Math.abs(value) / greatest) : 0;
    return value > 0 ? [255 - 63 * part, 255 * (1 - 0.78 * part), 255 * (1 - 0.83 * part)]
      : [255 * (1 - 0.87 * part), 255 * (1 - 0.62 * part), 255 - 79 * part];
  };
}

function paint(canvas, values, columns, colour) {
  canvas.width = columns;
  canvas.height = Math.ceil(values.length / columns);
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => image.data.set([...colour(value), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

const greatestOf = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

function svg(name, attributes, parent, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// ---- the left side

function showPictures(now) {
  paint(byId("x"), now.x, SIDE, inked);
  paint(byId("gradient"), now.gradient, SIDE, signed(greatestOf(now.gradient)));
  paint(byId("adversarial"), now.adversarial, SIDE, inked);
  byId("x").classList.toggle("drawable", isOwn());
  byId("adversarial").classList.toggle("drawable", state.along === "hand");
  const help = " Arrow keys move, space paints.";
  byId("x").setAttribute("aria-label", isOwn() ? `x, to draw on.${help}` : `x, a ${now.label}`);
  const most = shown(greatestOf(now.gradient));
  byId("gradient-size").textContent = most;
  byId("gradient-name").textContent = Object.values(now.faults).some(Boolean) ? "the wrong ∇ₓJ" : "∇ₓJ";
  byId("gradient").setAttribute("aria-label", `the gradient, at most ${most} a pixel`);
  for (const [canvas, place] of cursors) {
    const context = canvas.getContext("2d");
    context.fillStyle = "#e07000";
    context.fillRect(place % SIDE, Math.floor(place / SIDE), 1, 1);
  }
  byId("adversarial").setAttribute("aria-label", state.along === "hand" ? `x̃, to paint on.${help}` : "x̃");
}

function showVerdict(now) {
  const [from, to] = [best(now.before), best(now.after)];
  const broken = from === now.label ? "The network is broken: it says" : "Now it says";
  const changed = from === to ? "It stays" : broken;
  byId("verdict").textContent = `x: ${from} (${percent(now.before[from])}). ${changed} ${to} `
    + `(${percent(now.after[to])}). J goes from ${shown(now.costAt(now.x))} to ${shown(now.costAt(now.adversarial))}.`;
  const rows = now.before.map((p, j) => {
    const bar = (value, kind) => `<div class="bar ${kind}" style="width:${(100 * value).toFixed(2)}%"></div>`;
    return `<tr><th scope="row">${j}${j === now.label ? "*" : ""}</th><td>${bar(p, "")}`
      + `${bar(now.after[j], "adversarial")}</td><td class="number">${percent(p)} → ${percent(now.after[j])}</td></tr>`;
  });
  byId("probabilities").tBodies[0].innerHTML = rows.join("");
}

// J after one step of each size, and what the gradient promises: if it is right, the tangent at x. A dot marks x̃.
function showCurve(now) {
  const picture = byId("curve"), most = MOST[now.norm], count = 40;
  // Clipping stops a pixel that is at its bound already.
  const goes = now.along.map((way, i) => (state.clip && (way < 0 ? now.x[i] <= 0 : now.x[i] >= 1) ? 0 : way));
  const slope = now.gradient.reduce((sum, g, i) => sum + g * goes[i], 0), start = now.costAt(now.x);
  const at = part => now.costAt(now.moved(most * part)), reached = now.costAt(now.adversarial);
  const costs = Array.from({ length: count + 1 }, (_, i) => at(i / count));
  // What was promised is in the picture as well, however wrong.
  const high = Math.max(...costs, reached, start + slope * most, start + 1e-3) * 1.08, low = Math.min(0, ...costs);
  const across = part => 50 + 340 * part, up = J => 180 - 165 * (J - low) / (high - low);
  picture.replaceChildren();
  svg("line", { class: "axis", x1: 50, x2: 390, y1: up(low), y2: up(low) }, picture);
  svg("line", { class: "axis", x1: 50, x2: 50, y1: 10, y2: 180 }, picture);
  const far = slope < 0 ? Math.min(1, (low - start) / (most * slope)) : 1; // where it leaves the picture
  svg("line", { class: "tangent", x1: across(0), y1: up(start), x2: across(far), y2: up(start + slope * most * far) },
    picture);
  svg("path", { class: "cost", d: costs.map((J, i) => `${i ? "L" : "M"}${across(i / count)} ${up(J)}`).join("") },
    picture);
  const here = across(state.epsilon / 100);
  svg("line", { class: "now", x1: here, x2: here, y1: 10, y2: 180 }, picture);
  svg("circle", { class: "reached", cx: here, cy: up(reached), r: 5 }, picture);
  svg("text", { x: 46, y: 20, "text-anchor": "end" }, picture, Number(high.toPrecision(2)));
  svg("text", { x: 46, y: 184, "text-anchor": "end" }, picture, Number(low.toPrecision(2)));
  svg("text", { x: 390, y: 200, "text-anchor": "end" }, picture, `ε ${most}`);
  const norms = { inf: "ε‖∇ₓJ‖₁", 2: "ε‖∇ₓJ‖₂", 1: "ε‖∇ₓJ‖∞" }, wrong = Object.values(now.faults).some(Boolean);
  const promise = state.along === "gradient" && !wrong && !state.clip ? `${norms[now.norm]} = ` : "";
  const text = `J after one step of each size; dashed, what the gradient promises. At this ε the ${wrong ? "wrong " : ""}gradient `
    + `promises ${promise}${shown(slope * now.epsilon)}; one step gains ${shown(at(state.epsilon / 100) - start)}`
    + (now.count > 1 ? `, ${now.count} steps (the dot) ${shown(reached - start)}.` : ".");
  byId("curve-text").textContent = text;
  picture.setAttribute("aria-label", text);
}

// ---- the right side

const PLACES = { J: [150, 25], logsumexp: [75, 100], "z[label]": [225, 100], z: [150, 185], h: [150, 270],
  a: [150, 355], x: [150, 440] };
const NAMES = { J: "J", logsumexp: "ln Σ eᶻ", "z[label]": "z[label]", z: "z = h W₂ + b₂", h: "h = maxout(a)",
  a: "a = x W₁ + b₁", x: "x" };

function showGraph(now) {
  const picture = byId("graph"), { shares } = now.walked, current = shares[state.at - 1];
  const before = shares.slice(0, Math.max(state.at - 1, 0));
  const focused = document.activeElement?.dataset?.edge;
  picture.replaceChildren();
  for (const y of allResults(now.cost.J).reverse()) {
    for (const x of y.args) {
      const [x1, y1] = PLACES[y.name], [x2, y2] = PLACES[x.name];
      const is = share => share.from === y && share.to === x;
      const kind = current && is(current) ? "here" : before.some(is) ? "handed" : "";
      const edge = svg("g", { class: `edge ${kind}`, tabindex: 0, role: "button", "data-edge": `${y.name}>${x.name}`,
        "aria-label": `the share of ${NAMES[x.name]} from ${NAMES[y.name]}`, "aria-pressed": kind === "here" }, picture);
      svg("line", { x1, y1: y1 + 16, x2, y2: y2 - 18 }, edge);
      svg("line", { class: "hit", x1, y1: y1 + 16, x2, y2: y2 - 18 }, edge);
      // Its next share after the one that is shown, or its first.
      const choose = () => {
        const places = shares.flatMap((share, i) => (is(share) ? [i + 1] : []));
        set({ at: places.find(place => place > state.at) || places[0] });
      };
      edge.addEventListener("click", choose);
      edge.addEventListener("keydown", event => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); }
      });
    }
  }
  for (const y of allResults(now.cost.J)) {
    const [left, top] = PLACES[y.name], value = y.value.length === 1 ? shown(y.value[0]) : `${y.value.length} numbers`;
    const kind = current?.from === y ? "here" : before.some(share => share.from === y) ? "visited" : "";
    const node = svg("g", { class: `node ${kind}` }, picture);
    svg("rect", { x: left - 68, y: top - 18, width: 136, height: 36, rx: 6 }, node);
    svg("text", { x: left, y: top - 3, "text-anchor": "middle" }, node, NAMES[y.name]);
    svg("text", { x: left, y: top + 12, "text-anchor": "middle", style: "font-size:10px" }, node, value);
  }
  if (focused) [...picture.querySelectorAll(".edge")].find(edge => edge.dataset.edge === focused)?.focus();
}

function numbers(values) {
  const made = document.createElement("dd"), text = document.createElement("span");
  text.className = "numbers";
  text.textContent = values.length > 10
    ? `${values.length} numbers, at most ${shown(greatestOf(values))} in size, ${values.filter(v => !v).length} are 0`
    : values.map(shown).join("  ");
  if (values.length > 1) {
    const canvas = document.createElement("canvas"), columns = values.length === PIXELS ? SIDE : values.length;
    paint(canvas, values, columns, signed(greatestOf(values)));
    const wide = values.length === PIXELS ? 112 : 240;
    canvas.style.width = `${wide}px`;
    canvas.style.height = values.length === PIXELS ? `${wide}px` : "14px";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", text.textContent);
    made.append(canvas, document.createElement("br"));
  }
  made.append(text);
  return made;
}

function showShare(now) {
  const { shares } = now.walked, place = byId("share"), share = shares[state.at - 1];
  byId("where").textContent = `share ${state.at} of ${shares.length}`;
  // Not `disabled`, which would take the focus away.
  byId("back").setAttribute("aria-disabled", state.at === 0);
  byId("step").setAttribute("aria-disabled", state.at === shares.length);
  const heading = document.createElement("h3");
  place.replaceChildren(heading);
  if (!share) {
    heading.textContent = "Nothing was handed on yet";
    const text = document.createElement("p");
    text.textContent = "The cotangent of J is 1. The walk begins there.";
    place.append(text);
    return;
  }
  const [from, to] = [share.from.name, share.to.name], rule = DATA.rules[`${from}>${to}`];
  heading.textContent = `From ${NAMES[from]} to ${NAMES[to]}`;
  const code = document.createElement("pre"), where = document.createElement("small"), list = document.createElement("dl");
  code.textContent = rule.text;
  where.textContent = rule.place;
  for (const [what, values] of [["its cotangent g", share.g], [`the share of ${to}`, share.share],
    [`the sum of ${to} so far`, share.sum]]) {
    const term = document.createElement("dt");
    term.textContent = what;
    list.append(term, numbers(values));
  }
  place.append(code, where, list);
}

// ---- controls

function showControls(now) {
  for (const input of form.elements) {
    if (!Object.hasOwn(NORMAL, input.name)) continue;
    if (input.type === "checkbox") input.checked = state[input.name];
    else if (input.type === "radio") input.checked = input.value === state[input.name];
    else input.value = state[input.name];
  }
  byId("epsilon-value").textContent = shown(now.epsilon);
  byId("steps-value").textContent = now.count;
  form.elements.steps.disabled = now.norm === "1" || state.along !== "gradient";
  form.elements.norm.disabled = state.along === "hand";
  form.elements.norm.value = now.norm;
  // What does nothing now is not there.
  byId("again").hidden = state.along !== "random";
  byId("clear").hidden = !isOwn() && state.along !== "hand";
  form.elements.label.parentElement.hidden = !isOwn();
  form.elements.darker.parentElement.hidden = state.along !== "hand";
  byId("fault-text").textContent = bugText(now);
}

// What the bugs that are switched on do, and what becomes of the attack.
function bugText(now) {
  const { forgetToAdd, wrongOrder, rounded } = now.faults;
  if (!forgetToAdd && !wrongOrder && !rounded) return "None: the gradient is right.";
  const found = [];
  if (forgetToAdd && wrongOrder) found.push(FAULTS.both);
  else if (forgetToAdd || wrongOrder) found.push(forgetToAdd ? FAULTS.forgetToAdd : FAULTS.wrongOrder);
  if (rounded) {
    const p = now.before[now.label], left = p === 1 ? 0 : (1 - Math.fround(p)) / (1 - p);
    const coarse = `By rounding, the part at the label is ${percent(left)} of what it should be.`;
    found.push(left === 0 ? FAULTS.lost : Math.abs(left - 1) < 0.01 ? FAULTS.kept : coarse);
  }
  if (state.along === "gradient") {
    const [start, wrong, right] = [now.x, now.adversarial, now.byGradient({})].map(now.costAt).map(shown);
    found.push(`J goes from ${start} to ${wrong}; along the right gradient, to ${right}.`);
  }
  return found.join(" ");
}

function show() {
  const now = computed(), count = now.walked.shares.length;
  state.at = Math.min(Math.max(Math.round(state.at), 0), count);
  for (const part of [showControls, showPictures, showVerdict, showCurve, showGraph, showShare]) part(now);
}

let asked = false, later = null;
function set(changes) {
  Object.assign(state, changes);
  clearTimeout(later);
  later = setTimeout(writeAddress, 150); // browsers refuse to write it at every frame
  if (asked) return; // many changes in one frame are shown once
  asked = true;
  requestAnimationFrame(() => { asked = false; show(); });
}

function makeDigits() {
  const place = byId("digits");
  [...DIGITS.keys(), "own"].forEach(value => {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "digit", value: String(value) });
    let picture = document.createElement("canvas");
    if (value === "own") {
      picture = document.createElement("span");
      picture.className = "own";
      picture.textContent = "✎";
      input.setAttribute("aria-label", "your own drawing");
    } else {
      paint(picture, DIGITS[value].x, SIDE, inked);
      input.setAttribute("aria-label", `a ${DIGITS[value].label}, number ${value}`);
    }
    label.append(input, picture);
    place.append(label);
  });
}

const cursors = new Map(); // of the keys, on the canvases that are painted with them

// A canvas on which pointer and keys paint. `stroke(place)` sets what a touch of a pixel does.
function drawable(canvas, isOpen, stroke) {
  let last = null; // where the pointer was, while it is down
  const placeOf = event => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map(
      (way, i) => Math.floor(SIDE * way / [box.width, box.height][i]));
  };
  const touch = event => {
    const [x, y] = placeOf(event), [fromX, fromY] = last || [x, y];
    // All pixels on the way: a fast pointer leaves some out.
    const count = Math.max(Math.abs(x - fromX), Math.abs(y - fromY), 1);
    for (let i = 0; i <= count; i++) {
      const [column, row] = [fromX + (x - fromX) * i / count, fromY + (y - fromY) * i / count].map(Math.round);
      if (column >= 0 && column < SIDE && row >= 0 && row < SIDE) set(stroke(row * SIDE + column));
    }
    last = [x, y];
  };
  canvas.addEventListener("pointerdown", event => {
    if (!isOpen() || event.button !== 0) return;
    last = null;
    canvas.setPointerCapture(event.pointerId); // it may leave the canvas, and come back elsewhere
    touch(event);
  });
  canvas.addEventListener("pointermove", event => { if (last && event.buttons & 1) touch(event); });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { last = null; });
  canvas.addEventListener("blur", () => { if (cursors.delete(canvas)) set({}); });
  canvas.addEventListener("keydown", event => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!isOpen() || !(event.key in moves || event.key === " ")) return;
    event.preventDefault();
    const place = cursors.get(canvas) ?? 14 * SIDE + 14, [across, down] = moves[event.key] || [0, 0];
    const within = value => Math.min(Math.max(value, 0), SIDE - 1);
    const next = within(Math.floor(place / SIDE) + down) * SIDE + within(place % SIDE + across);
    cursors.set(canvas, next);
    set(event.key === " " ? stroke(next) : {});
  });
}

// A soft brush, as the digits have soft edges.
function brushed(place) {
  let text = state.drawing;
  const now = drawing();
  [[0, 15], [-1, 9], [1, 9], [-SIDE, 9], [SIDE, 9]].forEach(([by, value]) => {
    const there = place + by, sameRow = Math.abs(by) > 1 || Math.floor(there / SIDE) === Math.floor(place / SIDE);
    if (sameRow && there >= 0 && there < PIXELS && 15 * now[there] < value) text = painted(text, there, value);
  });
  return { drawing: text };
}

// The bugs are controls of the form that stand outside of it.
document.addEventListener("input", event => {
  const { name, type, checked, value } = event.target;
  if (!Object.hasOwn(NORMAL, name)) return;
  const number = typeof NORMAL[name] === "number";
  set({ [name]: type === "checkbox" ? checked : number ? Number(value) : value });
});
form.addEventListener("submit", event => event.preventDefault());
byId("again").addEventListener("click", () => set({ seed: state.seed + 1 }));
byId("clear").addEventListener("click",
  () => set(state.along === "hand" && state.strokes ? { strokes: "" } : isOwn() ? { drawing: "" } : {}));
byId("back").addEventListener("click", () => set({ at: Math.max(state.at - 1, 0) }));
byId("step").addEventListener("click", () => set({ at: state.at + 1 }));
byId("start").addEventListener("click", () => set({ at: 0 }));
drawable(byId("x"), isOwn, brushed);
drawable(byId("adversarial"), () => state.along === "hand",
  place => ({ strokes: painted(state.strokes, place, state.darker ? 2 : 1) }));
addEventListener("hashchange", () => { readAddress(); show(); });
makeDigits();
readAddress();
show();
