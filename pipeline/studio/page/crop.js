// A square cut out of a photo by dragging and zooming; answered in shares of width, height and
// shorter side, so that the server cuts the full photo itself.
const $ = (id) => document.getElementById(id);

export async function askForCrop(file) {
  const url = URL.createObjectURL(file);
  const image = $("crop-image"), dialog = $("crop"), view = $("viewport");
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    return {};  // not readable here: the server decides
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  const short = Math.min(width, height);
  const at = { x: width / 2, y: height / 2, side: short };  // centre and side, in photo pixels

  function place() {
    at.x = Math.min(Math.max(at.x, at.side / 2), width - at.side / 2);
    at.y = Math.min(Math.max(at.y, at.side / 2), height - at.side / 2);
    const scale = view.clientWidth / at.side;
    image.style.transform =
      `translate(${(at.side / 2 - at.x) * scale}px, ${(at.side / 2 - at.y) * scale}px) scale(${scale})`;
    $("zoom-out").textContent = `${(short / at.side).toFixed(1)}×`;
  }
  function zoom(to) {
    $("zoom").value = to;
    at.side = short / $("zoom").valueAsNumber;
    place();
  }

  dialog.showModal();
  zoom(1);
  let from = null;
  view.onpointerdown = (e) => { from = { x: e.clientX, y: e.clientY }; view.setPointerCapture(e.pointerId); };
  view.onpointermove = (e) => {
    if (!from) return;
    const scale = at.side / view.clientWidth;
    at.x -= (e.clientX - from.x) * scale;
    at.y -= (e.clientY - from.y) * scale;
    from = { x: e.clientX, y: e.clientY };
    place();
  };
  view.onpointerup = view.onpointercancel = () => { from = null; };
  view.onwheel = (e) => { e.preventDefault(); zoom($("zoom").valueAsNumber * (e.deltaY < 0 ? 1.08 : 0.93)); };
  view.onkeydown = (e) => {
    const step = at.side / 40;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (e.key in moves) { at.x += moves[e.key][0]; at.y += moves[e.key][1]; place(); }
    else if (e.key === "+" || e.key === "=") zoom($("zoom").valueAsNumber + 0.1);
    else if (e.key === "-") zoom($("zoom").valueAsNumber - 0.1);
    else return;
    e.preventDefault();
  };
  $("zoom").oninput = () => zoom($("zoom").valueAsNumber);
  dialog.onkeydown = (e) => {
    if (e.key !== "Enter" || e.target === $("crop-cancel")) return;
    e.preventDefault();
    $("crop-use").click();
  };

  return new Promise((resolve) => {
    const end = (crop) => { dialog.onclose = null; dialog.close(); URL.revokeObjectURL(url); resolve(crop); };
    $("crop-cancel").onclick = () => end(null);
    dialog.onclose = () => end(null);  // the Escape key
    $("crop-use").onclick = () => end({
      left: (at.x - at.side / 2) / width, top: (at.y - at.side / 2) / height, side: at.side / short,
    });
  });
}
