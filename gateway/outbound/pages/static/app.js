// Conveniences only: every page works without this file.
"use strict";
addEventListener("keydown", function (event) {
  var at = document.activeElement;
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (at && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return;
  var box = document.getElementById("resident") || document.getElementById("quick");
  if (box) { event.preventDefault(); box.focus(); }
});
// A copy button exists only where it works: without script the text box is copied by hand.
document.querySelectorAll("textarea[data-copy]").forEach(function (area) {
  var button = document.createElement("button");
  button.type = "button";
  button.className = "no-print";
  button.textContent = area.dataset.copy;
  button.addEventListener("click", function () {
    area.focus();
    area.select();
    var done = function () { button.textContent = "已复制"; };
    if (navigator.clipboard) navigator.clipboard.writeText(area.value).then(done, function () { document.execCommand("copy"); done(); });
    else { document.execCommand("copy"); done(); }
  });
  area.insertAdjacentElement("afterend", button);
});
// Frame viewer: a picture that does not come is said in words, arrow keys step through the frames.
document.querySelectorAll(".frame img").forEach(function (image) {
  var tell = function () { var box = document.getElementById("no-picture"); if (box) box.hidden = false; image.hidden = true; };
  image.addEventListener("error", tell);
  if (image.complete && !image.naturalWidth) tell();
});
addEventListener("keydown", function (event) {
  var rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  var link = rel && document.querySelector('.frame-steps a[rel="' + rel + '"]');
  if (link) location.assign(link.href);
});
document.querySelectorAll("[data-print]").forEach(function (button) {
  button.hidden = false;
  button.addEventListener("click", function () { print(); });
});
// `gateway demo` opens the form with its token behind the `#`, which no server and no log ever sees.
var carried = /^#token=([\w.~-]+)$/.exec(location.hash);
var tokenField = document.querySelector('input[name="token"]');
if (carried && tokenField) {
  tokenField.value = carried[1];
  tokenField.closest("details").open = true;
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector("main form button").focus();
}
