// Elements from data. Text is always text: nothing here reads HTML, so what the database holds cannot become markup.

/**
 * Return a new element.
 *
 * @param {string} tag Its name.
 * @param {object} [attributes] Attributes; `class` as text or list, `on` as {event: function}, `data` as {name: value},
 *   `style` as {property: value} (set through the object model, which the content-security policy allows), true for
 *   an empty attribute; false, null and undefined leave it out.
 * @param {...(Node|string|number|Array|null|undefined|false)} children Text, nodes or lists of them.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return a new element of a drawing, as h does. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Put children in the place of all that an element holds, and return it. */
export function replace(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Return the element of an id, which the page is known to have. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found;
}

/** Return a function that calls another once nothing more has come for a while (ms). */
export function debounced(action, wait) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), wait);
  };
}

/** Return a function that calls another at once, and once more when a time (ms) has passed if more calls have come since. */
export function throttled(action, every) {
  let timer = 0;
  let more = false;
  const again = () => {
    timer = more ? setTimeout(again, every) : 0;
    if (more) action();
    more = false;
  };
  return () => {
    if (timer) {
      more = true;
      return;
    }
    action();
    timer = setTimeout(again, every);
  };
}

let made = 0;

/** Return an id that no other element of the page has. */
export function newId(prefix) {
  made += 1;
  return `${prefix}-${made}`;
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "data") for (const [key, text] of Object.entries(value)) element.dataset[key] = text;
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (/^on/i.test(name) || name === "srcdoc") throw new Error(`attribute '${name}' could run what it holds`);
    else if (["href", "src", "action"].includes(name)) element.setAttribute(name, safeAddress(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Return an address if it leads to a page or a file; links to scripts become a link to nothing. */
function safeAddress(address) {
  const text = String(address);
  const scheme = new URL(text, document.baseURI).protocol;
  return ["http:", "https:", "blob:", "mailto:"].includes(scheme) ? text : "#";
}
