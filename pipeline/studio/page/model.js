// What the server knows of its model.
export let model = null;

export async function read() {
  const answer = await fetch("api/model");
  if (!answer.ok) throw new Error("The studio's model could not be read: reload the page.");
  model = await answer.json();
}
