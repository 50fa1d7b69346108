// What the server knows of its model.
import * as requests from "./requests.js";

export let model = null;

export async function read() {
  model = await requests.read("api/model");
}
