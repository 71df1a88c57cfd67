"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const time = document.getElementById("time"), lanes = document.getElementById("lanes");
const shown = document.getElementById("shown"), frame = document.getElementById("frame");
const clock = seconds => {
  const whole = Math.floor(seconds + 1e-6), rest = Math.round((seconds - whole) * 10), pad = n => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? `${hours}:${pad(minutes)}` : minutes) + `:${pad(whole % 60)}` + (rest > 0 && rest < 10 ? `.${rest}` : "");
};
const show = () => {
  const at = Number(time.value);
  let window = told.edges.findIndex(edge => edge > at) - 1;
  if (window < 0) window = told.edges.length - 2;
  lanes.style.setProperty("--at", `${100 * at / told.seconds}%`);
  shown.textContent = clock(at);
  time.setAttribute("aria-valuetext", clock(at));
  for (const each of document.querySelectorAll("[data-tag]"))
    each.textContent = `${Math.round(100 * told.scores[each.dataset.tag][window])} % here`;
  if (!frame) return;
  let nearest = null;
  for (const each of document.querySelectorAll(".strip button"))
    if (!nearest || Math.abs(each.dataset.at - at) < Math.abs(nearest.dataset.at - at)) nearest = each;
  frame.src = nearest.firstElementChild.src;
  frame.alt = nearest.firstElementChild.alt;
};
time.addEventListener("input", show);
lanes.addEventListener("click", event => {
  const button = event.target.closest("[data-at]");
  if (!button) return;
  time.value = button.dataset.at;
  show();
});
show();
