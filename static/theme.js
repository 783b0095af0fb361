// The theme that was chosen is there before anything is drawn. Not a module, so that the
// browser runs it before it reads on.
try {
  const theme = localStorage.getItem("jobcast.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* a browser that keeps nothing has its own theme */ }
