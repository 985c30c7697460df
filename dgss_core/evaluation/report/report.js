'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const at = (id) => document.getElementById(id);
const root = document.documentElement;

// The choice of colours stays for the next report, where the browser keeps anything for a file.
const kept = (act) => { try { return act(localStorage); } catch { return null; } };
const setTheme = (name) => {
  root.dataset.theme = name;
  for (const input of document.getElementsByName('theme')) input.checked = input.value === name;
};
for (const input of document.getElementsByName('theme')) {
  input.onchange = () => {
    setTheme(input.value);
    kept((store) => store.setItem('dgss-theme', input.value));
  };
}
setTheme(['light', 'dark'].find((name) => name === kept((s) => s.getItem('dgss-theme'))) || 'auto');

const describe = (frame) => {
  const { name, condition, ...values } = data.frames[frame];
  const said = Object.entries(values).map(([key, value]) => `${data.series[key]} ${value}`);
  return [name, condition, ...said].join(' \u00b7 ');
};

const layerNames = { mask: 'Mask', labels: 'Labels', error: 'Error' };
const thumbs = [...document.querySelectorAll('[data-picture]')];
const pictureOf = new Map(data.pictures.map((picture, index) => [picture.frame, index]));
let current = 0;
let layer = 'mask';

const cutAt = (share) => {
  at('cut').value = share;
  at('cut').setAttribute('aria-valuetext', `image ${Math.round(share)} per cent`);
  at('stage').style.setProperty('--cut', `${share}%`);
};
const draw = () => {
  const { frame, note, layers } = data.pictures[current];
  const { name } = data.frames[frame];
  const shown = layer in layers ? layer : 'mask';
  const image = thumbs[current].querySelector('img');
  for (const id of ['base', 'layer']) {
    at(id).width = image.getAttribute('width');
    at(id).height = image.getAttribute('height');
  }
  at('base').src = image.src;
  at('base').alt = `Image of ${name}`;
  at('layer').src = layers[shown];
  at('layer').alt = `${layerNames[shown]} of ${name}`;
  at('layer-name').textContent = layerNames[shown];
  for (const input of document.getElementsByName('layer')) {
    input.disabled = !(input.value in layers);
    input.checked = input.value === shown;
  }
  at('shown').textContent = `${current + 1} of ${thumbs.length} \u00b7 ${describe(frame)}`
    + (note ? ` \u00b7 ${note}` : '');
  thumbs.forEach((thumb, index) => thumb.setAttribute('aria-pressed', index === current));
};
const show = (index) => {
  current = (index + thumbs.length) % thumbs.length;
  draw();
};
const jump = (index) => {
  show(index);
  at('viewer').scrollIntoView({ block: 'nearest' });
  at('viewer').focus({ preventScroll: true });
};

if (thumbs.length) {
  thumbs.forEach((thumb, index) => { thumb.onclick = () => jump(index); });
  at('previous').onclick = () => show(current - 1);
  at('next').onclick = () => show(current + 1);
  at('cut').oninput = () => cutAt(Number(at('cut').value));
  for (const input of document.getElementsByName('layer')) {
    input.onchange = () => { layer = input.value; draw(); };
  }
  const drag = (event) => {
    if (event.type === 'pointermove' && !event.buttons) return;
    const box = at('stage').getBoundingClientRect();
    cutAt(Math.min(100, Math.max(0, 100 * (event.clientX - box.left) / box.width)));
  };
  at('stage').onpointerdown = drag;
  at('stage').onpointermove = drag;
  cutAt(50);
  show(0);
}

for (const figure of document.querySelectorAll('[data-timeline]')) {
  const frames = data.timelines[figure.dataset.timeline];
  const [left, right] = [Number(figure.dataset.left), Number(figure.dataset.right)];
  const [svg, cursor, slider, button, output] = ['svg', '.cursor', 'input', 'button', 'output']
    .map((selector) => figure.querySelector(selector));
  const last = frames.length - 1;
  const move = (place) => {
    slider.value = place;
    const frame = frames[place];
    const said = describe(frame);
    const x = left + (right - left) * place / last;
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
    output.textContent = said + (pictureOf.has(frame) ? '' : ' \u00b7 its picture is not in this page');
    slider.setAttribute('aria-valuetext', said);
    button.disabled = !pictureOf.has(frame);
  };
  const go = () => {
    const picture = pictureOf.get(frames[slider.value]);
    if (picture !== undefined) jump(picture);
  };
  slider.oninput = () => move(Number(slider.value));
  slider.onkeydown = (event) => { if (event.key === 'Enter') go(); };
  button.onclick = go;
  svg.onclick = (event) => {
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    move(Math.min(last, Math.max(0, Math.round(last * (x - left) / (right - left)))));
    go();
  };
  move(0);
}
