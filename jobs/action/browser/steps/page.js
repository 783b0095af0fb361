// What steps do inside a page. It runs in a world of its own: the page's scripts see
// nothing of it, and cannot change what it calls.
(() => {
  'use strict';
  if (globalThis.jobcast) return;

  const rootOf = (node) => node.shadowRoot ?? node;
  const above = (node) => node.assignedSlot ?? node.parentNode ?? node.host ?? null;
  const within = (node, outer) => {
    for (; node; node = above(node)) if (node === outer) return true;
    return false;
  };
  const squeeze = (text) => text.replace(/[\u200b\u00ad]/g, '').trim().replace(/\s+/g, ' ');

  // deep yields all elements under root in document order, also those in open shadow roots.
  function* deep(root) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      yield node;
      if (node.shadowRoot) yield* deep(node.shadowRoot);
    }
  }

  // texts returns a function that tells all text of an element, also in shadow roots.
  function texts() {
    const known = new Map();
    const of = (element) => {
      if (known.has(element)) return known.get(element);
      let text = '';
      if (element instanceof HTMLInputElement) {
        if (/^(submit|button|reset)$/.test(element.type)) text = element.value;
      } else if (!/^(SCRIPT|STYLE|NOSCRIPT|TEMPLATE|HEAD)$/.test(element.nodeName)) {
        for (const node of [...(element.shadowRoot?.childNodes ?? []), ...element.childNodes]) {
          if (node instanceof Text) text += node.data;
          else if (node instanceof Element) text += of(node);
        }
      }
      known.set(element, text);
      return text;
    };
    return of;
  }

  // byText returns the innermost elements that hold a text.
  function byText(root, {value, exact, fold}) {
    const wanted = fold || exact ? squeeze(value) : value, textOf = texts();
    const holds = (element) => {
      let text = textOf(element);
      if (fold || exact) text = squeeze(text);
      if (exact) return text === wanted;
      return fold ? text.toLowerCase().includes(wanted.toLowerCase()) : text.includes(wanted);
    };
    const found = [];
    const visit = (element) => {
      if (!holds(element)) return exact && inner(element);
      if (!inner(element)) found.push(element);
      return true;
    };
    const inner = (element) => {
      let any = false;
      for (const child of [...(element.shadowRoot?.children ?? []), ...element.children]) if (visit(child)) any = true;
      return any;
    };
    inner(root);
    return found;
  }

  function byPart(root, part) {
    switch (part.kind) {
      case 'css':
        return [...root.querySelectorAll(part.value)];
      case 'pierce':
        document.createElement('i').matches(part.value); // complains of what is no selector
        return [...deep(root)].filter((element) => element.matches(part.value));
      case 'text':
        return byText(root, part);
      case 'xpath': {
        const found = document.evaluate(part.value, root, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE);
        return Array.from({length: found.snapshotLength}, (_, i) => found.snapshotItem(i))
          .filter((node) => node instanceof Element);
      }
    }
    return [];
  }

  // byPath returns what the last part of a path finds. Of each other part it follows the
  // first match, into its shadow root if it has one.
  function byPath(path, root = document) {
    for (const part of path.slice(0, -1)) {
      const [first] = byPart(root, part);
      if (!first) return [];
      root = rootOf(first);
    }
    return byPart(root, path.at(-1));
  }

  // describe is not the last to make it short: a secret must be whole to be found in it.
  function describe(element) {
    const attribute = (name) => (element.getAttribute(name) ?? '').slice(0, 50000);
    return {name: element.localName.slice(0, 50000), id: attribute('id'), class: attribute('class')};
  }

  function visible(element) {
    if (!element.checkVisibility({visibilityProperty: true})) {
      return getComputedStyle(element).display === 'contents' && [...element.children].some(visible);
    }
    const {width, height} = element.getBoundingClientRect();
    return width > 0 && height > 0;
  }

  // controlOf is the control that a label is for, else the element itself.
  const controlOf = (element) => element.closest('label')?.control ?? element;

  function disabled(element) {
    const control = element.closest('button, select, input, textarea, option, optgroup') ?? element;
    return control.matches(':disabled') || !!element.closest('[aria-disabled="true"]');
  }

  function editable(element) {
    if (element.isContentEditable) return '';
    if (!/^(INPUT|TEXTAREA|SELECT)$/.test(element.nodeName)) return 'not editable';
    return element.readOnly || element.getAttribute('aria-readonly') === 'true' ? 'read-only' : '';
  }

  // frame waits for the next picture, or as long as one takes if none is drawn.
  const frame = () => new Promise((next) => {
    const late = setTimeout(next, 100);
    requestAnimationFrame(() => { clearTimeout(late); next(); });
  });

  const same = (a, b) => a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;

  // pointIn returns where in an element the pointer goes, null if that is out of view.
  function pointIn(element, offset) {
    const box = element.getBoundingClientRect();
    const inView = (x, y) => x >= 0 && y >= 0 && x < innerWidth && y < innerHeight;
    if (offset) {
      const [x, y] = [box.left + (offset.x ?? box.width / 2), box.top + (offset.y ?? box.height / 2)];
      return inView(x, y) ? {x, y} : null;
    }
    for (const part of element.getClientRects()) {
      const left = Math.max(part.left, 0), right = Math.min(part.right, innerWidth);
      const top = Math.max(part.top, 0), bottom = Math.min(part.bottom, innerHeight);
      if (right - left > 0 && bottom - top > 0) return {x: (left + right) / 2, y: (top + bottom) / 2};
    }
    return null;
  }

  // coveredBy returns what the pointer would hit instead of an element, null if nothing.
  function coveredBy(element, {x, y}) {
    // A closed shadow root is known only from within.
    const inner = (host) => {
      for (let node = element; node; node = above(node)) if (node instanceof ShadowRoot && node.host === host) return node;
      return null;
    };
    let hit = null;
    for (let root = document; root;) {
      const next = root.elementFromPoint(x, y);
      if (!next || next === hit) break;
      hit = next;
      root = hit.shadowRoot ?? inner(hit);
    }
    if (!hit) return document.documentElement;
    for (let node = hit; node; node = above(node)) {
      if (node === element || (node instanceof HTMLLabelElement && node.control === element)) return null;
    }
    // The outermost element that covers it says more than the innermost.
    for (let outer = above(hit); outer && !within(element, outer); outer = above(outer)) {
      if (outer instanceof Element) hit = outer;
    }
    return hit;
  }

  const views = ['center', 'end', 'start'];

  // ready says why an element cannot be acted on yet, or where the pointer goes.
  async function ready(element, need) {
    if (!element.isConnected) return {why: 'detached'};
    if (need.visible && !visible(element)) return {why: 'not visible'};
    if (need.enabled && disabled(element)) return {why: 'disabled'};
    if (need.editable) {
      const why = editable(element);
      if (why) return {why};
    }
    if (need.option) {
      const why = optionsOf(element, need.option).missing;
      if (why) return {why};
    }
    if (!need.still) return {};
    const box = element.getBoundingClientRect();
    for (let i = 0; i < 2; i++) {
      await frame();
      if (!element.isConnected) return {why: 'detached'};
      if (!same(box, element.getBoundingClientRect())) return {why: 'still moving'};
    }
    if (!need.point) return {};
    let point = pointIn(element, need.offset);
    if (!point || need.again) {
      element.scrollIntoView({block: views[need.again % 3], inline: 'center', behavior: 'instant'});
      point = pointIn(element, need.offset);
    }
    if (!point) return {why: 'outside of the window'};
    const cover = coveredBy(element, point);
    if (cover) return {why: 'covered', cover: describe(cover)};
    return point;
  }

  // optionsOf finds a select's options by value, else by label.
  function optionsOf(element, wanted) {
    if (!(element instanceof HTMLSelectElement)) return {missing: 'not a select'};
    const chosen = [];
    for (const text of wanted) {
      const all = [...element.options];
      const option = all.find((o) => o.value === text) ?? all.find((o) => squeeze(o.label) === squeeze(text));
      if (!option) return {missing: 'it has no such option'};
      if (option.disabled || option.closest('optgroup')?.disabled) return {missing: 'the option is disabled'};
      chosen.push(option);
    }
    if (chosen.length > 1 && !element.multiple) return {missing: 'it takes one option only'};
    return {chosen};
  }

  const tell = (element) => {
    element.dispatchEvent(new Event('input', {bubbles: true, composed: true}));
    element.dispatchEvent(new Event('change', {bubbles: true}));
  };

  const cellsOf = (table) => [...table.querySelectorAll('tr')]
    .filter((row) => row.closest('table') === table)
    .map((row) => [...row.cells].map((cell) => squeeze(cell.innerText ?? '')));

  // Fields that nobody may see the content of: which steps have said to be, and what was a
  // password's when something was typed into it, whatever the page makes of it then.
  const hidden = new Set();
  const hide = (element) => {
    if (!hidden.has(element)) shown.observe(element, {attributeFilter: ['style']});
    hidden.add(element);
    element.style?.setProperty('-webkit-text-security', 'disc', 'important');
  };
  // A page that takes the style away is put right before it is painted: somebody may look.
  const shown = new MutationObserver((changes) => changes.forEach(({target}) => {
    const {style} = target, name = '-webkit-text-security';
    if (style.getPropertyValue(name) !== 'disc' || style.getPropertyPriority(name) !== 'important') hide(target);
  }));

  const entity = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\u00a0': '&nbsp;'};
  const quote = (text) => text.replace(/[&<>"\u00a0]/g, (c) => entity[c]);
  const single = /^(area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)$/;
  const literal = /^(iframe|noembed|noframes|noscript|plaintext|script|style|xmp)$/;

  // html yields a node as HTML, with what is in open shadow roots, without what nobody may see.
  function* html(node) {
    if (node instanceof Text) {
      yield literal.test(node.parentNode?.localName) ? node.data : quote(node.data);
    } else if (node instanceof Comment) {
      yield `<!--${node.data.replaceAll('>', '&gt;')}-->`;
    }
    if (!(node instanceof Element)) return;
    const name = node.localName, secret = hidden.has(node) || (name === 'input' && node.type === 'password');
    // Who opens it is to stay there, whether scripts may run or not.
    if (name === 'noscript' || (name === 'meta' && /^\s*refresh\s*$/i.test(node.httpEquiv))) return;
    yield '<' + name;
    for (const a of node.attributes) yield ` ${a.name}="${secret && a.name === 'value' && a.value ? '***' : quote(a.value)}"`;
    yield '>';
    if (single.test(name)) return;
    if (node.shadowRoot) {
      yield '<template shadowrootmode="open">';
      for (const child of node.shadowRoot.childNodes) yield* html(child);
      yield '</template>';
    }
    if (secret && node.textContent) yield '***';
    else for (const child of (node.content ?? node).childNodes) yield* html(child);
    yield `</${name}>`;
  }

  let held = null; // the element of the step

  globalThis.jobcast = {
    // poll looks for an element among alternatives, each a path or a list of elements that
    // were found elsewhere. The first that is ready is held.
    async poll(need, alternatives, ...elsewhere) {
      let first = {why: 'no element matches', index: 0};
      for (const [index, a] of alternatives.entries()) {
        const [found] = a.path ? byPath(a.path) : elsewhere.slice(a.from, a.to);
        if (!found) continue;
        const element = need.control ? controlOf(found) : found;
        const state = await ready(element, need);
        if (!state.why) {
          held = element;
          return {...state, index, file: !!element.closest('a[download], area[download]'), ready: true};
        }
        if (first.why === 'no element matches') first = {why: state.why, cover: state.cover, index};
      }
      return first;
    },
    count(need, alternatives, ...elsewhere) {
      let most = 0;
      for (const a of alternatives) {
        let found = a.path ? byPath(a.path) : elsewhere.slice(a.from, a.to);
        if (need.visible !== undefined) found = found.filter((e) => visible(e) === need.visible);
        for (const [name, value] of Object.entries(need.attributes ?? {})) {
          found = found.filter((e) => e.getAttribute(name) === value);
        }
        const matches = (want, is) => (want !== null && typeof want === 'object')
          ? is != null && Object.entries(want).every(([name, value]) => matches(value, is[name])) : is === want;
        found = found.filter((e) => matches(need.properties ?? {}, e));
        most = Math.max(most, found.length);
      }
      return most;
    },
    first: (root, path) => byPath(path, rootOf(root))[0] ?? null,
    open: (node) => rootOf(node),
    held: () => held,
    document: () => document,
    settle: () => new Promise((next) => setTimeout(next)),
    // frameAt returns the index-th iframe of the document.
    frameAt: (index) => [...deep(document)].filter((e) => /^I?FRAME$/.test(e.nodeName))[index] ?? null,
    // through takes a point from an iframe's document to the document that the iframe is in.
    through(owner, point, reach) {
      if (!visible(owner)) return {why: 'its frame is not visible'};
      const style = getComputedStyle(owner), box = owner.getBoundingClientRect();
      const x = point.x + box.left + owner.clientLeft + parseFloat(style.paddingLeft);
      const y = point.y + box.top + owner.clientTop + parseFloat(style.paddingTop);
      if (!reach) return {x, y};
      if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) {
        owner.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});
        return {why: 'outside of the window'};
      }
      const cover = coveredBy(owner, {x, y});
      return cover ? {why: 'covered', cover: describe(cover)} : {x, y};
    },
    // corner brings the element into view and says where it is.
    corner() {
      held.scrollIntoView({block: 'nearest', inline: 'nearest', behavior: 'instant'});
      const {x, y, width, height} = held.getBoundingClientRect();
      return {x, y, width, height};
    },
    scrolled: () => ({x: scrollX, y: scrollY}),
    // kind says how a control takes a value.
    kind() {
      if (held.isContentEditable || held instanceof HTMLTextAreaElement) return 'text';
      if (held instanceof HTMLSelectElement) return 'select';
      if (/^(checkbox|radio)$/.test(held.type)) return 'tick';
      if (held.type === 'file') return 'file';
      return /^(text|search|url|tel|email|password|number)$/.test(held.type) ? 'text' : 'set';
    },
    ticked() {
      const control = controlOf(held);
      return control.checked ?? control.getAttribute('aria-checked') === 'true';
    },
    // begin focuses a control and chooses all its text, or goes to its end.
    begin(all) {
      if (held.type === 'password') hide(held);
      held.focus();
      if (held.isContentEditable) {
        const range = document.createRange(), chosen = getSelection();
        range.selectNodeContents(held);
        if (!all) range.collapse(false);
        chosen.removeAllRanges();
        chosen.addRange(range);
        return held.textContent !== '';
      }
      if (all) held.select?.();
      else if (held.setSelectionRange && held.selectionStart !== null) held.setSelectionRange(held.value.length, held.value.length);
      return (held.value ?? '') !== '';
    },
    // end lets a control say that it has changed, as it does when the focus leaves it.
    end() {
      held.blur();
      held.focus();
    },
    host: () => origin === 'null' ? '' : new URL(origin).hostname,
    mask: () => hidden.forEach(hide),
    // set gives a control its value at once and reports whether it took it.
    set(value) {
      held.focus();
      held.value = value;
      if (held.value !== value && !/^(color|range)$/.test(held.type)) return false;
      tell(held);
      return true;
    },
    // put gives a field for text a text within this document: keys and the browser's own input
    // go to what has the focus by then, which any page around or inside may take. The page is
    // asked first, and what it makes of the field before the text is in is looked at last. It
    // returns false, and has put in nothing, if that is no field for the text any more.
    put(text, all) {
      const {kind, begin} = globalThis.jobcast, said = {bubbles: true, composed: true, inputType: 'insertText'};
      begin(all);
      const wanted = held.dispatchEvent(new InputEvent('beforeinput', {...said, cancelable: true}));
      hide(held);
      if (!wanted || !held.isConnected || held.ownerDocument !== document || kind() !== 'text' || disabled(held) || editable(held)) return false;
      if (held.isContentEditable) {
        if (all) held.textContent = text;
        else held.append(text);
      } else {
        const whole = (all ? '' : held.value) + text, before = held.value;
        if (held.type !== 'number' && held.maxLength >= 0 && whole.length > held.maxLength) return false;
        held.value = whole;
        if (held.value === '') { // it is no number
          held.value = before;
          return false;
        }
      }
      held.dispatchEvent(new InputEvent('input', said));
      held.dispatchEvent(new Event('change', {bubbles: true}));
      return true;
    },
    choose(wanted) {
      const {chosen} = optionsOf(held, wanted);
      held.focus();
      for (const option of held.options) option.selected = chosen.includes(option);
      tell(held);
    },
    scrollPage: (x, y) => window.scrollTo({left: x, top: y, behavior: 'instant'}),
    scrollHeld(x, y) {
      held.scrollIntoView({block: 'nearest', inline: 'nearest', behavior: 'instant'});
      held.scrollTo({left: x, top: y, behavior: 'instant'});
    },
    // extract returns what a step wants of elements; null if that is more than it may be.
    extract({what, attribute, all, most}, alternatives, ...elsewhere) {
      const value = (element) => {
        switch (what) {
          case 'html': return element.outerHTML;
          case 'attribute': return element.getAttribute(attribute);
          case 'value': return element instanceof HTMLSelectElement && element.multiple
            ? [...element.selectedOptions].map((o) => o.value) : element.value ?? null;
          case 'table': return cellsOf(element.closest('table') ?? element.querySelector('table') ?? element);
        }
        return element.innerText ?? element.textContent ?? '';
      };
      let whole = null, size = 0;
      if (all) {
        whole = [];
        for (const a of alternatives) {
          const found = a.path ? byPath(a.path) : elsewhere.slice(a.from, a.to);
          for (const element of found) {
            const one = value(element);
            size += JSON.stringify(one).length + 1;
            if (size > most) return null;
            whole.push(one);
          }
          if (found.length > 0) break;
        }
      } else {
        whole = value(held);
      }
      return JSON.stringify(whole).length > most ? null : {whole};
    },
    // html returns the document as HTML, at least the most characters of it if it has so
    // many. It does not end within what is to be taken out of them.
    html(most) {
      let text = `<!-- ${location.href.replaceAll('>', '%3E')} -->`;
      for (const part of html(document.documentElement)) if ((text += part).length > most) break;
      return text.slice(0, 2 * most);
    },
    // calm ends animations and hides the caret, so that two pictures of a page are equal.
    async calm() {
      await document.fonts.ready;
      for (const animation of document.getAnimations()) {
        try {
          if (animation.effect?.getComputedTiming().endTime < Infinity) animation.finish();
          else animation.cancel();
        } catch { /* it has no end that could be reached */ }
      }
      const quiet = new CSSStyleSheet();
      quiet.replaceSync('* { caret-color: transparent !important; scroll-behavior: auto !important }');
      document.adoptedStyleSheets.push(quiet);
      globalThis.jobcast.stir = () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== quiet);
      };
      await frame();
      await frame();
      return {width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight, scale: devicePixelRatio};
    },
    stir() {},
  };
})();
