// Sliders with a name, a value, a way back to zero and a track that shows how far they are.

const $ = (id) => document.getElementById(id);

export function fill(input) {  // the track's coloured part: from zero to the value
  const share = (v) => 100 * (v - input.min) / (input.max - input.min);
  const ends = [share(Math.max(0, input.min)), share(input.valueAsNumber)].sort((a, b) => a - b);
  input.style.setProperty("--low", `${ends[0]}%`);
  input.style.setProperty("--high", `${ends[1]}%`);
}

const SIDEWAYS_PX = 6;

// A finger that scrolls the page moves no slider on its way: it must slide sideways first.
export function leaveToScrolling(input) {
  let down = null;
  input.addEventListener("pointerdown", (e) => {
    down = e.pointerType === "touch" ? { x: e.clientX, value: input.value } : null;
  });
  input.addEventListener("pointermove", (e) => {
    if (down && Math.abs(e.clientX - down.x) > SIDEWAYS_PX) down = null;
  });
  input.addEventListener("input", (e) => { if (down) e.stopImmediatePropagation(); }, true);
  input.addEventListener("pointercancel", () => {
    if (down) input.value = down.value;
    down = null;
  });
  input.addEventListener("pointerup", () => { down = null; });
}

// A named slider; `moved(draft)` is called when a person moves it, with true on the way.
export function addSlider(parent, id, name, { hint, weak, low, high, step, value, format, set, moved }) {
  const row = document.createElement("div");
  row.className = "slider";
  const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: name, title: hint ? `${name}: ${hint}` : name });
  const out = Object.assign(document.createElement("output"), { textContent: format(value) });
  out.htmlFor.add(id);
  const zero = Object.assign(document.createElement("button"),
    { type: "button", className: "zero", textContent: "↺", hidden: true });
  zero.setAttribute("aria-label", `Reset ${name}`);
  const input = Object.assign(document.createElement("input"), { type: "range", id, min: low, max: high, step });
  input.value = value;
  zero.input = input;
  const take = () => { out.textContent = format(input.valueAsNumber); set(input.valueAsNumber); fill(input); };
  const follow = (draft) => { take(); moved(draft); };
  input.oninput = () => follow(true);
  input.onchange = () => follow(false);
  const back = () => { input.value = 0; follow(false); };
  input.ondblclick = back;
  zero.onclick = () => { back(); input.focus(); };
  leaveToScrolling(input);
  input.silently = (to) => { input.value = to; take(); };
  fill(input);
  row.append(label, zero, out);
  if (weak) {
    row.append(Object.assign(document.createElement("p"), { className: "hint weak", id: `${id}-weak`, textContent: "no better than guessing" }));
    input.setAttribute("aria-describedby", `${id}-weak`);
  }
  row.append(input);
  parent.append(row);
}

// To a value without a word to anybody.
export const setSlider = (id, value) => $(id).silently(value);
