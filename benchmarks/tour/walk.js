// The network, its gradient and the attack: everything that is computed. Vectors are arrays of numbers in double
// precision, matrices are {rows, columns, values}, row by row. What is drawn is in page.js.

// ---- the computation, as a graph

// A result knows what it was computed from, and for each argument the rule of its share: rule(g) = (∂y/∂x)ᵀ g.
// It is younger than its arguments, so its age is greater.
function result(name, value, args = [], rules = []) {
  return { name, value, args, rules, age: result.age++ };
}
result.age = 0;

// x W + b
function linear(name, x, W, b) {
  const z = b.slice();
  for (let i = 0; i < W.rows; i++) {
    for (let j = 0; j < W.columns; j++) z[j] += x.value[i] * W.values[i * W.columns + j];
  }
  const share = g => x.value.map((_, i) => {
    let sum = 0;
    for (let j = 0; j < W.columns; j++) sum += g[j] * W.values[i * W.columns + j];
    return sum;
  });
  return result(name, z, [x], [share]);
}

// The greatest of several pieces of each unit: unit u has the elements u, u + units, u + 2 units, …
function maxout(name, z, pieces) {
  const units = z.value.length / pieces;
  const winners = Array.from({ length: units }, (_, u) => {
    let best = u;
    for (let k = u; k < z.value.length; k += units) if (z.value[k] > z.value[best]) best = k;
    return best;
  });
  const share = g => {
    const spread = z.value.map(() => 0);
    winners.forEach((place, u) => { spread[place] = g[u]; });
    return spread;
  };
  return result(name, winners.map(place => z.value[place]), [z], [share]);
}

function softmax(z) {
  const greatest = Math.max(...z), e = z.map(value => Math.exp(value - greatest));
  const total = e.reduce((sum, value) => sum + value, 0);
  return e.map(value => value / total);
}

// ln Σ eᶻ
function logsumexp(name, z, rounded) {
  const greatest = Math.max(...z.value);
  const total = z.value.reduce((sum, value) => sum + Math.exp(value - greatest), 0);
  const p = softmax(z.value).map(value => (rounded ? Math.fround(value) : value));
  return result(name, [greatest + Math.log(total)], [z], [g => p.map(value => g[0] * value)]);
}

// z[place]
function entry(name, z, place) {
  return result(name, [z.value[place]], [z], [g => z.value.map((_, j) => (j === place ? g[0] : 0))]);
}

function difference(name, x, y) {
  return result(name, [x.value[0] - y.value[0]], [x, y], [g => g, g => [-g[0]]]);
}

// J = ln Σ eᶻ − z[label] of a digit x, with everything that it was computed from. z is used twice.
function costOf(net, x, label, faults = {}) {
  result.age = 0;
  const input = result("x", x);
  const a = linear("a", input, net.W1, net.b1), h = maxout("h", a, net.pieces);
  const z = linear("z", h, net.W2, net.b2);
  const all = logsumexp("logsumexp", z, faults.rounded), own = entry("z[label]", z, label);
  return { x: input, z, J: difference("J", all, own) };
}

// ---- the walk

function allResults(J) {
  const found = new Set([J]);
  for (const y of found) y.args.forEach(x => found.add(x));
  return [...found].sort((x, y) => x.age - y.age);
}

// The backward pass from J: the cotangent of every result, and each share as it was handed on. `faults` are two
// mistakes that one can make in it.
function walk(J, faults = {}) {
  const sums = new Map([[J, [1]]]), shares = [];
  const handOn = (y, visit) => y.args.forEach((x, position) => {
    const g = sums.get(y), share = y.rules[position](g);
    const before = faults.forgetToAdd ? undefined : sums.get(x);
    sums.set(x, before ? before.map((value, i) => value + share[i]) : share);
    shares.push({ from: y, to: x, g, share, sum: sums.get(x) });
    visit(x);
  });
  if (faults.wrongOrder) {
    // By recursion: on to an argument as soon as it has a share, whether or not others are still to come.
    const visit = y => handOn(y, visit);
    visit(J);
  } else {
    // The youngest first: whoever uses a result has been visited before it, so all of its shares are in.
    for (const y of allResults(J).reverse()) handOn(y, () => {});
  }
  return { sums, shares };
}

// ∇ₓJ
function gradientOf(net, x, label, faults = {}) {
  const cost = costOf(net, x, label, faults);
  return walk(cost.J, faults).sums.get(cost.x);
}

// ---- the attack

// The direction of a step of length 1 that raises J most, to first order; 0 where the gradient is 0.
function steepest(g, norm) {
  if (norm === "2") {
    const length = Math.hypot(...g) || 1;
    return g.map(value => value / length);
  }
  if (norm === "1") {
    const sizes = g.map(Math.abs), place = sizes.indexOf(Math.max(...sizes));
    return g.map((value, i) => (i === place ? Math.sign(value) : 0));
  }
  return g.map(Math.sign);
}

// The point nearest to x̃ that is at most ε from x.
function intoBall(adversarial, x, epsilon, norm) {
  if (norm === "2") {
    const away = adversarial.map((value, i) => value - x[i]), length = Math.hypot(...away);
    return length > epsilon ? away.map((value, i) => x[i] + value * epsilon / length) : adversarial;
  }
  return adversarial.map((value, i) => Math.min(Math.max(value, x[i] - epsilon), x[i] + epsilon));
}

const clipped = x => x.map(value => Math.min(Math.max(value, 0), 1));

// x̃ after so many steps along the gradient. One step has length ε; of more, each has 2.5 ε / steps, and is brought
// back to within ε of x.
function attack(net, x, label, { epsilon, steps, norm, clip }, faults = {}) {
  const count = norm === "1" ? 1 : steps, length = count === 1 ? epsilon : 2.5 * epsilon / count;
  let adversarial = x;
  for (let n = 0; n < count; n++) {
    const along = steepest(gradientOf(net, adversarial, label, faults), norm);
    adversarial = adversarial.map((value, i) => value + length * along[i]);
    if (count > 1) adversarial = intoBall(adversarial, x, epsilon, norm);
    if (clip) adversarial = clipped(adversarial);
  }
  return adversarial;
}

// Numbers between −1 and 1 that are the same for the same seed (mulberry32).
function randomNumbers(count, seed) {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2147483648 - 1;
  });
}
