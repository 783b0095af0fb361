// What was wrong with the last submit, and where.

import { signal } from "../../ui/html.js";

export const problems = signal([]); // [{pointer, detail}]

// forget takes away what was wrong at a pointer that has been changed.
export function forget(pointer) {
  if (problems.value.length) problems.value = problems.value.filter((p) => p.pointer !== pointer && !p.pointer.startsWith(`${pointer}/`) && !pointer.startsWith(`${p.pointer}/`));
}

// show brings the field of a pointer into view, or that of what is around it, and tells whether there is one.
export function show(pointer) {
  for (let at = pointer; at; at = at.slice(0, at.lastIndexOf("/"))) {
    const field = [...document.querySelectorAll("[data-pointer]")].find((f) => f.dataset.pointer === at);
    if (!field) continue;
    for (let around = field.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
    field.focus();
    field.scrollIntoView({ block: "center" });
    return true;
  }
  return false;
}
