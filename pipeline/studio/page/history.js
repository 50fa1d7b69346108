// What was before: states to undo and redo, and the faces that were shown, in this page alone.

const $ = (id) => document.getElementById(id);
const MOST_STATES = 200, MOST_FACES = 12;
const states = [];
let at = -1;

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function show() {
  $("undo").disabled = at <= 0;
  $("redo").disabled = at >= states.length - 1;
}

// A state to come back to; what was undone before it is forgotten.
export function note(state) {
  if (at >= 0 && same(state.recipe, states[at].recipe)) {
    states[at] = state;  // the same picture: its photo may be newer
  } else {
    states.splice(at + 1, states.length, state);
    if (states.length > MOST_STATES) states.shift();
    at = states.length - 1;
  }
  show();
}

// The state so many steps away, -1 or 1; null at the end.
export function step(by) {
  if (!states[at + by]) return null;
  at += by;
  show();
  return states[at];
}

// A face for the strip; `taken` is called when it is wanted again.
export function remember(face, picture, name, taken) {
  const key = JSON.stringify(face);
  let item = [...$("history").children].find((one) => one.dataset.face === key);
  if (!item) {
    item = document.createElement("li");
    item.dataset.face = key;
    const button = document.createElement("button"), image = new Image();
    Object.assign(image, { src: picture, alt: "" });
    button.type = "button";
    button.setAttribute("aria-label", name);
    button.title = name;
    button.append(image);
    button.onclick = taken;
    item.append(button);
    $("history").prepend(item);
    if ($("history").children.length > MOST_FACES) $("history").lastChild.remove();
  }
  mark(face);
  $("past").hidden = $("history").children.length < 2;
}

// Shows which face of the strip is the one at hand.
export function mark(face) {
  for (const { dataset, firstChild } of $("history").children) {
    firstChild.setAttribute("aria-pressed", String(dataset.face === JSON.stringify(face)));
  }
}
