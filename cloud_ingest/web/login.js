// Keeps the link's view (the part behind #) through the login; whoever is logged in already goes on at once: a browser
// that follows a link from another site shows its cookie only from here on.
document.forms[0].action += location.hash;
if (!document.getElementById("told").textContent) {
  fetch("/v1/health").then((answer) => (answer.ok ? answer.json() : {})).then(({ name }) => {
    if (name) location.replace(`/${location.hash}`);
  }).catch(() => {});
}
