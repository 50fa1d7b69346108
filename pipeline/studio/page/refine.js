// A better style for a photo, in steps on the server that a bar follows.
import { ask, fileOf, lines } from "./requests.js";

const $ = (id) => document.getElementById(id);
let stopping = null;

export const stop = () => stopping?.abort();

function show(on) {
  $("refine").disabled = on;
  for (const id of ["refine-bar", "refine-stop"]) $(id).hidden = !on;
}

// {w, before_db, after_db} of a photo as the model sees it, a data URI; null if it was stopped.
export async function refined(photo) {
  stopping = new AbortController();
  $("refine-bar").value = 0;
  show(true);
  try {
    let last = null;
    for await (last of lines(await ask("api/refine", fileOf(photo), stopping.signal))) {
      if (last.error) throw new Error(last.error);
      if ("step" in last) [$("refine-bar").max, $("refine-bar").value] = [last.steps, last.step];
    }
    if (!last?.w) throw new Error("The refinement was cut off: try again.");
    return last;
  } catch (error) {
    if (error.name === "AbortError") return null;
    throw error;
  } finally {
    stopping = null;
    show(false);
  }
}
