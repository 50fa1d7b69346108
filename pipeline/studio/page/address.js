// The page's state in its address: faces of seeds, truncation, shares, amounts and grain.  A photo
// is nobody's to share and stays out of it.
import { recipe } from "./picture.js";

const NUMBER = /^-?\d+(\.\d+)?$/;
let written = "";

export function write() {
  const state = new URLSearchParams();
  const face = (slot) => recipe[slot] && "seed" in recipe[slot] && recipe[slot];
  if (face("face")) {
    state.set("seed", recipe.face.seed);
    state.set("psi", recipe.face.truncation);
  }
  if (face("other")) {
    state.set("other", recipe.other.seed);
    state.set("psi2", recipe.other.truncation);
  }
  const mix = recipe.other ? Object.entries(recipe.mix) : [];
  for (const [band, share] of mix) if (share) state.set(`mix.${band}`, share);
  for (const [name, amount] of Object.entries(recipe.amounts)) if (amount) state.set(`by.${name}`, amount);
  if (recipe.noise) state.set("grain", 1);
  written = `#${state}`;
  if (written !== location.hash) history.replaceState(null, "", written);
}

// What the address says: {seed, psi, other, psi2, grain} and {mix, by} by name; numbers alone count.
export function read() {
  const found = { mix: {}, by: {} };
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!NUMBER.test(value)) continue;
    const [group, ...name] = key.split(".");
    if (name.length && Object.hasOwn(found, group)) found[group][name.join(".")] = Number(value);
    else if (["seed", "psi", "other", "psi2", "grain"].includes(key)) found[key] = Number(value);
  }
  return found;
}

// Somebody else's change: an address typed or pasted, not the one that `write` has just made.
export const onChange = (told) => addEventListener("hashchange", () => {
  if (location.hash !== written) told();
});
