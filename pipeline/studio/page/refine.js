// A better style for a photo, and a generator tuned to it, in steps on the server that a bar follows.
import { ask, fileOf, lines } from "./requests.js";

const $ = (id) => document.getElementById(id);
const FIRST_STEPS = 5;  // before they say how long the rest takes
let stopping = null;

export const stop = () => stopping?.abort();

function show(on) {
  for (const id of ["refine", "tune"]) $(id).disabled = on;
  for (const id of ["refine-bar", "refine-stop", "refine-state"]) $(id).hidden = !on;
}

const waiting = (before) => (before ? `Waiting for ${before} other ${before > 1 ? "faces" : "face"}…` : "");

// What is said of the time that the steps left will take.
function timer() {
  const began = performance.now();
  return (step, steps) => {
    if (step < FIRST_STEPS) return "";
    const left_s = (performance.now() - began) / 1000 / step * (steps - step);
    return left_s > 90 ? `About ${Math.round(left_s / 60)} minutes left` : `About ${Math.ceil(left_s)} s left`;
  };
}

// The last line of an answer by steps: {w, before_db, after_db, ...}; null if it was stopped.
export async function followed(path, photo) {
  stopping = new AbortController();
  const bar = $("refine-bar"), state = $("refine-state");
  bar.value = 0;
  state.textContent = "";
  const from = document.activeElement;
  show(true);
  if (from.disabled) $("refine-stop").focus();  // nobody at a keyboard is left without a place
  try {
    let last = null, left = timer();
    for await (last of lines(await ask(path, fileOf(photo), stopping.signal))) {
      if (last.error) throw new Error(last.error);
      if ("before" in last) state.textContent = waiting(last.before);
      if (last.step === 0) left = timer();
      if ("step" in last) {
        [bar.max, bar.value] = [last.steps, last.step];
        state.textContent = left(last.step, last.steps);
      }
    }
    if (!last?.w) throw new Error("The studio broke off: try again.");
    return last;
  } catch (error) {
    if (error.name === "AbortError") return null;
    throw error;
  } finally {
    stopping = null;
    const back = document.activeElement === $("refine-stop");
    show(false);
    if (back) from.focus();
  }
}
