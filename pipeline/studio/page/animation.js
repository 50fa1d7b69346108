// The way from the face to the second face and back, frame by frame, as quickly as pictures come.
import { recipe, repainted } from "./picture.js";

const FRAMES = 24;
let playing = false;

// `show(share)` sets every band's share of the second face, 0 to 1; `ended` is called when it stops.
export async function toggle(show, ended) {
  if (playing) {
    playing = false;
    return;
  }
  playing = true;
  for (let frame = 0; playing && recipe.other; frame++) {
    show((1 - Math.cos((Math.PI * frame) / FRAMES)) / 2);
    if (!(await repainted())) break;  // the studio has gone, say
  }
  playing = false;
  ended();
}
