"use strict";
const search = document.getElementById("search"), count = document.getElementById("count");
const videos = [...document.querySelectorAll(".results > li")];
const texts = videos.map(each => each.dataset.text.toLowerCase());
const find = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  videos.forEach((each, number) => {
    each.hidden = !words.every(word => texts[number].includes(word));
    found += !each.hidden;
  });
  count.textContent = words.length ? `${found} of ${videos.length} videos` : `${videos.length} videos`;
};
search.addEventListener("input", find);
find();
