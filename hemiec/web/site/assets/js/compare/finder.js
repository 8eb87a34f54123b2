// The field that adds candidates to a comparison: by id, formula, elements or a condition.

import { get, isAborted, Latest } from "../api.js";
import { h, newId, replace } from "../dom.js";
import { counted, formula } from "../format.js";
import { announce } from "../layout.js";
import { emptyNotice, errorNotice, loadingNotice } from "../notices.js";

const FOUND_AT_MOST = 10;
const ELEMENTS = /^[A-Z][a-z]?([\s,]+[A-Z][a-z]?)*$/;

/**
 * Return the condition that a text stands for.
 *
 * Elements apart from each other ask for candidates with all of them, one word for an id, formula or label; anything else is a condition of the
 * query language.
 */
export function condition(text) {
  const asked = text.trim();
  if (ELEMENTS.test(asked))
    return asked
      .split(/[\s,]+/)
      .map((element) => `has(${element})`)
      .join(" and ");
  if (!/\s/.test(asked) && !/^\w+\([^()]*\)$/.test(asked) && !/[<>=!"]/.test(asked))
    return ["candidate_id", "formula", "label"].map((field) => `${field} = "${asked}"`).join(" or ");
  return asked;
}

/**
 * Return the form.
 *
 * @param {function(string)} add Is called with the id of a candidate.
 * @param {function(string): boolean} isTaken Whether a candidate is compared already.
 */
export function finder(add, isTaken) {
  const id = newId("find"),
    hint = newId("hint"),
    latest = new Latest();
  const input = h("input", {
    id,
    type: "search",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": hint,
    required: true,
    maxlength: 500,
  });
  const found = h("div", { class: "found" });
  const search = async () => {
    replace(found, loadingNotice("Searching"));
    try {
      const { documents, count } = await get(
        "candidates",
        { q: condition(input.value), limit: FOUND_AT_MOST, fields: "candidate_id,label,formula" },
        { signal: latest.next() },
      );
      replace(found, list(documents, count));
      announce(`${counted(documents.length, "candidate")} found`);
    } catch (error) {
      if (!isAborted(error)) replace(found, errorNotice(error));
    }
  };
  const list = (documents, count) =>
    documents.length === 0
      ? emptyNotice(
          "None found",
          "Write an id, a formula, elements such as La Sr Co, or a condition such as band_gap < 1.0 and has(Co).",
        )
      : [
          h(
            "ul",
            { class: "plain-list" },
            documents.map((doc) =>
              h(
                "li",
                { class: "row" },
                h(
                  "button",
                  {
                    type: "button",
                    class: "button small-button",
                    disabled: isTaken(doc.candidate_id),
                    "aria-label": `Add ${doc.label}, ${doc.candidate_id}`,
                    on: {
                      click: () => {
                        replace(found);
                        input.value = "";
                        add(doc.candidate_id);
                      },
                    },
                  },
                  isTaken(doc.candidate_id) ? "Added" : "Add",
                ),
                h("span", {}, formula(doc.formula)),
                h("span", { class: "muted small" }, doc.candidate_id),
              ),
            ),
          ),
          count > documents.length &&
            h("p", { class: "note" }, `${counted(count - documents.length, "other")} fulfil it too: narrow it down.`),
        ];
  return h(
    "form",
    {
      class: "finder stack",
      role: "search",
      "aria-label": "Add a candidate",
      on: {
        submit: (event) => {
          event.preventDefault();
          search();
        },
      },
    },
    h(
      "div",
      { class: "field-row" },
      h("label", { for: id }, "Add a candidate"),
      input,
      h("button", { type: "submit", class: "button" }, "Find"),
    ),
    h("p", { class: "note", id: hint }, "Id, formula, elements such as La Sr Co, or a condition."),
    found,
  );
}
