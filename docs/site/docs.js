// Shows openapi.json and asyncapi.json. Everything in them is put in as text.

const methods = ["get", "put", "post", "delete", "patch"];

// h makes an element: its attributes, and what is in it: texts and elements.
function h(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(key, value);
  element.append(...inside.flat(9).filter((one) => one !== undefined && one !== null && one !== false));
  return element;
}

// prose shows the little of Markdown that the documents use: paragraphs, tables, code, links.
function prose(text = "") {
  return text.trim().split(/\n\s*\n/).filter(Boolean).map((part) => {
    const lines = part.split("\n");
    if (!lines[0].startsWith("|")) return h("p", {}, spans(part));
    const rows = lines.filter((line) => !/^\|[-| ]+$/.test(line)).map((line) => line.replace(/^\||\|$/g, "").split("|"));
    return table(rows[0].map((cell) => cell.trim()), rows.slice(1).map((row) => row.map((cell) => spans(cell.trim()))));
  });
}

function spans(text) {
  return text.split(/(`[^`]+`|\[[^\]]+\]\([^)\s]+\)|https?:\/\/[^\s)]+)/).map((part) => {
    const link = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part);
    if (link && /^(https?:|[\w.]+$)/.test(link[2])) return h("a", { href: link[2] }, link[1]);
    return /^`.+`$/.test(part) ? h("code", {}, part.slice(1, -1)) : part;
  });
}

function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

const json = (value) => h("pre", { tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
const nameOf = (ref) => decodeURIComponent(ref.split("/").pop());

// kind says of which type a schema is, on one line.
function kind(schema = {}) {
  if (schema.$ref) return [h("a", { href: `#schema/${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  if (schema.const !== undefined) return [h("code", {}, JSON.stringify(schema.const))];
  const choices = schema.oneOf || schema.anyOf || schema.allOf;
  if (choices && !schema.properties) return choices.flatMap((one, i) => [i > 0 && (schema.allOf ? " and " : " or "), kind(one)]);
  const types = [schema.type || []].flat();
  if (schema.items) return ["list of ", kind(schema.items), types.includes("null") && " or null"];
  const bounds = [schema.minimum !== undefined && `from ${schema.minimum}`, schema.maximum !== undefined && `to ${schema.maximum}`,
    schema.default !== undefined && `default ${JSON.stringify(schema.default)}`].filter(Boolean).join(", ");
  const values = schema.enum && schema.enum.flatMap((value, i) => [i > 0 && ", ", h("code", {}, JSON.stringify(value))]);
  return [values || types.join(" or ") || (schema.properties ? "object" : schema.required ? `with ${schema.required.join(", ")}` : "any"),
    schema.format && ` (${schema.format})`, bounds && `, ${bounds}`];
}

// shape shows a schema with its members.
function shape(schema = {}) {
  if (schema.properties && !schema.oneOf) {
    return table(["member", "type", "meaning"], Object.entries(schema.properties).map(([name, member]) => [
      [h("code", {}, name), (schema.required || []).includes(name) && [" ", h("span", { class: "must" }, "always")]],
      kind(member), [prose(member.description), inner(member)],
    ]));
  }
  const inside = inner(schema);
  return [h("p", {}, kind(schema)), inside];
}

// inner shows the members of what stands in a schema without a name of its own.
function inner(schema) {
  const parts = [schema.items, ...(schema.oneOf || schema.anyOf || [])].filter((one) => one && (one.properties || one.items || one.anyOf));
  if (schema.properties) parts.unshift(schema);
  return parts.map((one) => h("details", {}, h("summary", {}, one.items ? "items" : "members"), shape(one)));
}

function content(described = {}) {
  return Object.entries(described).map(([media, { schema, example, examples = {} }]) => [
    h("p", {}, h("code", {}, media)), schema && [prose(schema.$ref ? "" : schema.description), shape(schema)],
    example !== undefined && json(example),
    Object.values(examples).map((one) => [h("p", {}, one.summary || ""), json(one.value)]),
  ]);
}

function operation(api, path, method, op, shared) {
  const follow = (one) => (one.$ref ? one.$ref.slice(2).split("/").reduce((at, name) => at[name], api) : one);
  const parameters = [...shared, ...(op.parameters || [])].map(follow);
  return article(`op/${op.operationId}`, [h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", {}, path)], op.summary,
    prose(op.description),
    parameters.length > 0 && [h("h4", {}, "Parameters"), table(["name", "in", "type", "meaning"], parameters.map((p) => [
      [h("code", {}, p.name), p.required && [" ", h("span", { class: "must" }, "required")]], p.in, kind(p.schema), prose(p.description)]))],
    op.requestBody && [h("h4", {}, "Body"), content(follow(op.requestBody).content)],
    h("h4", {}, "Answers"),
    Object.entries(op.responses).map(([status, response]) => {
      const answer = follow(response);
      return h("details", {}, h("summary", {}, h("code", {}, status), " ", (answer.description || "").split("\n")[0].replaceAll("`", "")),
        status === "default" && prose(answer.description),
        answer.headers && table(["header", "type", "meaning"], Object.entries(answer.headers).map(([name, header]) => [h("code", {}, name), kind(follow(header).schema), prose(follow(header).description)])),
        content(answer.content));
    }));
}

function article(id, heading, summary, ...inside) {
  return h("article", { id, "data-title": heading.map((one) => one.textContent).join(" ") }, h("h3", {}, h("a", { href: `#${id}`, "aria-label": `Link to ${summary || id}` }, "#"), heading), summary && h("p", {}, summary), inside);
}

function channel(api, name, c) {
  const received = new Set(Object.values(api.operations).filter((op) => op.action === "receive")
    .flatMap((op) => op.messages.map((m) => m.$ref)));
  return article(`channel/${name}`, [h("code", {}, c.address)], c.title, prose(c.description),
    Object.entries(c.messages).map(([message, { $ref }]) => {
      const m = api.components.messages[nameOf($ref)];
      const mine = received.has(`#/channels/${name}/messages/${message}`);
      return h("details", {}, h("summary", {}, h("span", { class: `method ${mine ? "receive" : ""}` }, mine ? "you send" : "you get"), " ", h("code", {}, m.name), " ", m.summary),
        shape(m.payload), (m.examples || []).map((one) => json(one.payload)));
    }));
}

// sections are those of the page, each with its articles.
function sections(api, streams) {
  const byTag = new Map(api.tags.map((tag) => [tag.name, { title: tag.name, text: tag.description, articles: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of methods) {
      if (item[method]) byTag.get(item[method].tags[0]).articles.push(operation(api, path, method, item[method], item.parameters || []));
    }
  }
  return [...byTag.values(),
    { title: "streams and sockets", text: streams.info.description, articles: Object.entries(streams.channels).map(([name, c]) => channel(streams, name, c)) },
    { title: "schemas", articles: Object.entries(api.components.schemas).map(([name, s]) => article(`schema/${name}`, [h("code", {}, name)], "", prose(s.description), shape(s), (s.examples || []).map(json))) }];
}

// search shows the articles that hold every word, and says how many there are.
function search(all, found) {
  const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const { element, text, entry } of all) {
    element.hidden = entry.hidden = !words.every((word) => text.includes(word));
    n += !element.hidden;
  }
  for (const part of document.querySelectorAll("main > section, nav > div")) part.hidden = !part.querySelector("article:not([hidden]), li:not([hidden])");
  found.textContent = words.length ? `${n} of ${all.length} entries` : "";
}

async function show() {
  const [api, streams] = await Promise.all(["openapi.json", "asyncapi.json"].map((name) => fetch(name).then((answer) => answer.json())));
  const main = document.getElementById("reference"), contents = document.getElementById("contents"), found = document.getElementById("found");
  main.append(...prose(api.info.description));
  const all = [];
  for (const { title, text, articles } of sections(api, streams)) {
    main.append(h("section", { "aria-label": title }, h("h2", {}, title), prose(text), articles));
    const entries = articles.map((element) => {
      const entry = h("li", {}, h("a", { href: `#${element.id}` }, element.dataset.title));
      all.push({ element, entry, text: element.textContent.toLowerCase() });
      return entry;
    });
    contents.append(h("div", {}, h("h2", {}, title), h("ul", {}, entries)));
  }
  document.getElementById("search").addEventListener("input", () => search(all, found));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA/.test(event.target.tagName)) return;
    event.preventDefault();
    document.getElementById("search").focus();
  });
  found.textContent = "";
  document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

show().catch((error) => { document.getElementById("found").textContent = `The documents could not be shown: ${error.message}`; });
