// The classes of a picture: names, colours, shares; each can be shown, hidden, or shown alone.

/** Percent with as many digits as tell something. */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value > 99.9 && value < 100 ? 2 : 1)} %`;
}

export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

export class Legend {
  /** list: the ul. onToggle(id) and onOnly(id) are called when a class's buttons are pressed. */
  constructor(list, onToggle, onOnly) {
    Object.assign(this, { list, onToggle, onOnly, rows: new Map() });
  }

  /** Rows for these classes, in the order given. */
  fill(classes) {
    this.rows.clear();
    this.list.replaceChildren(...classes.map((entry) => this.#row(entry)));
  }

  /** Say which classes are shown, and which one is shown alone (or null). */
  update(shown, alone) {
    for (const [id, { toggle, only }] of this.rows) {
      toggle.setAttribute("aria-pressed", shown.has(id));
      only.setAttribute("aria-pressed", id === alone);
    }
  }

  /** Mark the class under the pointer, or none. */
  mark(id) {
    for (const [other, { row }] of this.rows) row.classList.toggle("under-pointer", other === id);
  }

  #row({ id, name, colour, share, confidence }) {
    const row = element("li");
    row.style.setProperty("--colour", css(colour));
    row.style.setProperty("--share", `${share * 100}%`);
    const toggle = element("button", { type: "button", className: "class", title: name });
    const sure = `${Math.round(confidence * 100)} % sure`;
    const bar = element("span", { className: "bar" });
    bar.append(element("i"));
    toggle.append(
      element("i", { className: "swatch" }),
      element("span", { className: "name", textContent: name }),
      element("span", { className: "share", textContent: percent(share) }),
      bar,
      element("span", { className: "sure", textContent: sure }),
    );
    const only = element("button", { type: "button", className: "only quiet", textContent: "only" });
    only.setAttribute("aria-label", `only ${name}`);
    toggle.addEventListener("click", () => this.onToggle(id));
    only.addEventListener("click", () => this.onOnly(id));
    row.append(toggle, only);
    this.rows.set(id, { row, toggle, only });
    return row;
  }
}

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}
