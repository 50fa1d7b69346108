// The sliders of a model: attributes, shares of the second face, styles.
import { recipe, repaint } from "./picture.js";
import { addSlider } from "./sliders.js";

const $ = (id) => document.getElementById(id);
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const signed = (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(1);
// Of every name another: what is no letter or number is written as its code point.
export const idOf = (name) => `amount-${name.replace(/[^\p{L}\p{N}-]/gu, (sign) => `_${sign.codePointAt(0).toString(16)}_`)}`;

export function buildSliders(model) {
  const amount = (name) => ({
    low: -model.reach, high: model.reach, step: 0.1, value: 0, format: signed,
    set: (v) => { recipe.amounts[name] = v; }, moved: repaint,
  });
  for (const { name, hint, weak } of model.attributes) {
    const read = model.labelled ? capital(name.replaceAll("_", " ").replace(":", ": ")) : name.replace(/^pc/, "Component ");
    addSlider($("attributes"), idOf(name), read, { ...amount(name), hint, weak });
  }
  $("attributes-hint").textContent = model.labelled
    ? "Fitted from labels, in standard deviations."
    : "No attribute directions were given: these are the ways in which faces of this model vary most (PCA), in standard deviations.";
  for (const band of model.bands) {
    const head = document.createElement("h3"), small = document.createElement("span");
    head.textContent = capital(band.name);
    small.textContent = band.caption;
    head.append(small);
    $("styles").append(head);
    for (const name of band.styles) addSlider($("styles"), idOf(name), capital(name), amount(name));
    addSlider($("mix"), `mix-${band.name}`, `${head.firstChild.textContent}, ${band.caption}`, {
      low: 0, high: 1, step: 0.05, value: 0, format: (v) => `${Math.round(100 * v)} %`,
      set: (v) => { recipe.mix[band.name] = v; }, moved: repaint,
    });
  }
}

// Every slider of a recipe to where the recipe has it.
export function placeSliders({ mix, amounts, noise }) {
  const places = { ...mapped(mix, (band) => `mix-${band}`), ...mapped(amounts, idOf) };
  for (const input of document.querySelectorAll(".sliders input")) input.silently(places[input.id] || 0);
  recipe.noise = $("noise").checked = noise;
}

const mapped = (values, name) => Object.fromEntries(Object.entries(values).map(([k, v]) => [name(k), v]));
