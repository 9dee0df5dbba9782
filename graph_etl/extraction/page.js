const chosen = name => document.getElementById(name).value;
function show() {
  const type = chosen("type"), verdict = chosen("verdict"), engine = chosen("engine");
  const fits = one => (!type || one.dataset.type.split(" ").includes(type)) &&
    (!verdict || one.dataset.verdict === verdict);
  let texts = 0;
  for (const article of document.querySelectorAll("article")) {
    let any = !type && !verdict;
    for (const part of article.querySelectorAll(".part")) {
      part.hidden = engine !== "" && part.dataset.engine !== engine;
      for (const one of part.querySelectorAll("[data-verdict]")) {
        const fit = fits(one);
        if (one.tagName === "MARK") one.classList.toggle("faded", !fit); else one.hidden = !fit;
        any = any || (fit && !part.hidden);
      }
    }
    article.hidden = !any;
    texts += any;
  }
  document.getElementById("shown").textContent = texts;
}
for (const one of document.querySelectorAll("select")) one.addEventListener("change", show);
show();
