// Keys, legend, matrix and session of the tab Audit, with a server that answers on request of the test.
import { beforeEach, describe, expect, it } from "vitest";

import type { Ask } from "../src/model/api";
import type { History } from "../src/model/shared";
import type { AuditEdit, AuditFacts, AuditItem, AuditProgress, ClassNoise, Verdict } from "../src/model/auditApi";
import { keepShown, removing, restoring, NOTHING } from "../src/model/auditEffects";
import { auditCommandOf, classKeys, decisionFor, digitOf } from "../src/model/auditKeys";
import { leftByClass, matrixOf, queueTitle } from "../src/model/auditMatrix";
import { AuditSession, N_FEW } from "../src/model/auditSession";
import { asksBeforeClosing } from "./app";

function item(id: string, more: Partial<AuditItem> = {}): AuditItem {
  return {
    id, sample: id, path: `${id}.png`, box: null, given: "cat", suggestion: "dog", p_wrong: 0.9, reason: null, group: null,
    cluster: null, issues: [], neighbors: [], ...more,
  };
}

function progress(n_decided = 0, refit_due = false): AuditProgress {
  const verdicts: Record<Verdict, number> = { keep: n_decided, accept: 0, other: 0, exclude: 0, unsure: 0 };
  return { n_audited: 100, n_decided, n_issues_left: 50 - n_decided, verdicts, refit_due, refitting: false };
}

const FACTS: AuditFacts = {
  key: "audit", unit: "image", label_field: "truth", fields: ["truth"], run: null, classes: ["cat", "dog"], by_class: [],
  clusters: [], issues: [{ kind: "leak", text: "2 images are in two groups", n_images: 2 }], noise: null, n_images: 100,
  n_labeled: 100, n_audited: 100, n_fits: 1,
};

const pressed = (key: string, more = {}) => ({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more });

describe("keys", () => {
  it("decide in the queue only", () => {
    expect(auditCommandOf(pressed("k"), "queue")).toBe("keep");
    expect(auditCommandOf(pressed("K"), "queue")).toBe("keep");
    expect(auditCommandOf(pressed("k"), "tables")).toBeNull();
    expect(auditCommandOf(pressed("a", { ctrlKey: true }), "queue")).toBeNull();
    expect(auditCommandOf(pressed("z", { ctrlKey: true }), "queue")).toBe("undo");
    expect(auditCommandOf(pressed("Z", { ctrlKey: true, shiftKey: true }), "queue")).toBe("redo");
    expect(auditCommandOf(pressed("z", { metaKey: true, shiftKey: true }), "tables")).toBe("redo");
  });
  it("1 to 9 are places of the legend", () => {
    expect(digitOf(pressed("1"))).toBe(0);
    expect(digitOf(pressed("9"))).toBe(8);
    expect(digitOf(pressed("0"))).toBeNull();
    expect(digitOf(pressed("1", { ctrlKey: true }))).toBeNull();
  });
  it("a class that is the label or the suggestion is kept or accepted", () => {
    expect(decisionFor("cat", item("a"))).toEqual({ decision: "keep", label: null });
    expect(decisionFor("dog", item("a"))).toEqual({ decision: "accept", label: null });
    expect(decisionFor("owl", item("a"))).toEqual({ decision: "other", label: "owl" });
  });
});

describe("legend", () => {
  const row = (label: string, n_images: number, taken_for: string | null = null): ClassNoise => ({
    label, n_images, n_issues: 0, noise: null, taken_for,
  });
  it("keeps the keys of up to nine classes", () => {
    expect(classKeys(["cat", "dog", "owl"], [], item("a"))).toEqual(["cat", "dog", "owl"]);
  });
  it("of more classes, shows those of the neighbors, the usual mistake, and the largest", () => {
    const classes = Array.from({ length: 12 }, (_, at) => `c${at}`);
    const near = (id: string, given: string | null) => ({ id, sample: id, path: "", box: null, decision: null, given });
    const shown = item("a", {
      given: "c0", suggestion: "c1", neighbors: [near("1", "c9"), near("2", "c8"), near("3", "c8"), near("4", "c1"), near("5", null)],
    });
    const rows = [row("c0", 5, "c7"), row("c4", 90), row("c5", 95)];
    const keys = classKeys(classes, rows, shown);
    expect(keys.slice(0, 5)).toEqual(["c8", "c9", "c7", "c5", "c4"]);
    expect(keys).toHaveLength(9);
    expect(keys).not.toContain("c0");
    expect(keys).not.toContain("c1");
  });
});

describe("matrix", () => {
  it("has the classes with most suspicious labels, in the order of the audit", () => {
    const left = [["owl", "cat", 5], ["cat", "dog", 2], ["ant", "bee", 1]] as const;
    const matrix = matrixOf(["ant", "bee", "cat", "dog", "owl"], left, 3);
    expect(matrix.classes).toEqual(["cat", "dog", "owl"]);
    expect(matrix.counts.get("owl")?.get("cat")).toBe(5);
    expect(matrix.counts.get("ant")).toBeUndefined();
    expect([matrix.most, matrix.hidden]).toEqual([5, 2]);
    expect(leftByClass([...left, ["owl", "dog", 2]]).get("owl")).toBe(7);
  });
  it("names queues", () => {
    expect(queueTitle({ given: "cat", suggestion: "dog", p_wrong: 0.5 }, FACTS)).toBe("cat → dog");
    expect(queueTitle({ given: "cat" }, FACTS)).toBe("labeled cat");
    expect(queueTitle({ issue: "leak" }, FACTS)).toBe("2 images are in two groups");
    expect(queueTitle({ p_wrong: 0.5 }, FACTS)).toBe("suspicious labels");
    expect(queueTitle({}, FACTS)).toBe("all labels, worst first");
  });
});

describe("effects", () => {
  const known = { ...NOTHING, progress: progress(), left: [["cat", "dog", 2]] as const, items: [item("a"), item("b")], total: 7 };
  it("a decision is counted, and its undo takes that back", () => {
    const after = removing([item("a")], "accept")(known);
    expect(after.items.map((one) => one.id)).toEqual(["b"]);
    expect([after.total, after.progress?.n_decided, after.progress?.n_issues_left, after.progress?.verdicts.accept]).toEqual([6, 1, 49, 1]);
    expect(after.left).toEqual([["cat", "dog", 1]]);
    expect(restoring([item("a")], "accept")(after)).toEqual(known);
  });
  it("labels that are probably right are not counted as suspicious", () => {
    const after = removing([item("a", { p_wrong: 0.2 })], "keep")(known);
    expect([after.progress?.n_issues_left, after.left]).toEqual([50, known.left]);
  });
  it("the label that is shown stays first, unless somebody has decided it", () => {
    const ids = (some: readonly AuditItem[]) => some.map((one) => one.id);
    expect(ids(keepShown([item("b"), item("a")], item("a"), "a"))).toEqual(["a", "b"]);
    expect(ids(keepShown([item("b")], item("a"), "a"))).toEqual(["b"]);
    expect(ids(keepShown([item("b")], item("c"), "a"))).toEqual(["c", "b"]); // it came while the answer was on its way
    expect(ids(keepShown([item("b")], undefined, null))).toEqual(["b"]);
  });
});

describe("session", () => {
  const HISTORY: History = { undo: null, redo: null, lost: 0, version: 1 };
  let asked: [string, Record<string, unknown>][];
  let edits: AuditEdit[];
  let undecided: AuditItem[];
  let log: string[];
  let due: boolean;
  let stale: boolean;
  let fails: boolean;
  let notes: string[];
  let hold: Promise<void>;
  let session: AuditSession;

  const answers = async (event: string, params: Record<string, unknown>): Promise<unknown> => {
    asked.push([event, params]);
    if (event === "audit_load") return { audits: ["audit"], audit: FACTS, left: [], progress: progress(), history: HISTORY };
    if (event === "audit_queue") {
      const first = undecided.filter((one) => one.id === params["first"]);
      const rest = undecided.filter((one) => one.id !== params["first"]);
      return { total: params["count"] ? undecided.length : null, items: [...first, ...rest].slice(0, params["n"] as number) };
    }
    if (event === "audit_poll") return { audits: ["audit"], stale, n_fits: 1, refitting: false };
    if (event === "audit_refit") {
      due = false;
      undecided.reverse();
      return {};
    }
    const edit = params["edit"] as AuditEdit;
    await hold;
    if (fails) throw new Error("the audit was deleted");
    edits.push(edit);
    let number = log.length;
    if (edit.verb === "decide") {
      number = log.push(edit.image ?? "");
      undecided = undecided.filter((one) => one.id !== edit.image);
    } else if (edit.verb === "undo") {
      undecided = [item(log[log.length - 1] ?? ""), ...undecided];
      log.pop();
    }
    const history = { ...HISTORY, undo: "it", version: edits.length + 1 };
    return { change: { n_changed: 1, n_kept: 0, text: edit.verb }, number, progress: progress(log.length, due), history, stale };
  };
  const settle = async (): Promise<void> => {
    for (let at = 0; at < 50; at++) await Promise.resolve();
  };
  const shown = (): string | undefined => session.snapshot().items[0]?.id;
  const counted = (event: string): number => asked.filter(([name]) => name === event).length;
  const keep = { decision: "keep", label: null } as const;

  beforeEach(async () => {
    asked = [];
    edits = [];
    log = [];
    notes = [];
    [due, stale, fails] = [false, false, false];
    hold = Promise.resolve();
    undecided = Array.from({ length: 40 }, (_, at) => item(`i${at}`));
    const note = (text: unknown) => void notes.push(text instanceof Error ? text.message : String(text));
    session = new AuditSession(answers as Ask, { fail: note, warn: note, inform: note });
    await session.load();
    session.open({});
    await settle();
  });

  it("shows the next label before the server answers, and sends one decision after the other", async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => (release = resolve));
    session.decide(keep, false);
    session.decide({ decision: "other", label: "owl" }, false);
    expect([shown(), session.snapshot().total, session.snapshot().progress?.n_decided]).toEqual(["i2", 38, 2]);
    await settle();
    expect([edits.length, counted("audit_edit")]).toEqual([0, 1]);
    release();
    await settle();
    expect(edits.map((edit) => (edit.verb === "decide" ? [edit.image, edit.decision, edit.label] : []))).toEqual([
      ["i0", "keep", null],
      ["i1", "other", "owl"],
    ]);
    expect([session.snapshot().progress?.n_decided, session.snapshot().waiting]).toEqual([2, 0]);
  });
  it("has the browser ask before the tab is closed while decisions are on their way", async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => (release = resolve));
    session.decide(keep, false);
    session.decide(keep, false);
    await settle();
    expect(asksBeforeClosing()).toBe(true);
    fails = true;
    release();
    await settle();
    expect([notes.length, asksBeforeClosing()]).toEqual([2, false]);
  });
  it("asks for nothing but the decision, until few labels are left", async () => {
    const before = asked.length;
    const n = session.snapshot().items.length - N_FEW;
    for (let at = 0; at < n; at++) {
      session.decide(keep, false);
      await settle();
    }
    expect(asked.slice(before).every(([event]) => event === "audit_edit")).toBe(true);
    session.decide(keep, false);
    await settle();
    expect(counted("audit_queue")).toBe(2);
    expect([shown(), session.snapshot().items.length]).toEqual([`i${n + 1}`, 24]);
  });
  it("shows a label again at once when its decision is undone", async () => {
    session.decide(keep, false);
    session.decide(keep, false);
    session.undo();
    expect(shown()).toBe("i1");
    await settle();
    expect([shown(), session.snapshot().progress?.n_decided, log]).toEqual(["i1", 1, ["i0"]]);
    expect(counted("audit_queue")).toBe(1); // as it was shown: nothing is loaded again
  });
  it("loads again when the edit that was undone was another's", async () => {
    session.decide(keep, false);
    await settle();
    log.push("by another");
    session.undo();
    await settle();
    expect([counted("audit_queue"), counted("audit_load")]).toEqual([2, 2]);
    expect(session.snapshot().items.map((one) => one.id)).toContain("by another");
  });
  it("does not undo an earlier edit when a decision fails", async () => {
    session.decide(keep, false);
    await settle();
    fails = true;
    session.decide(keep, false);
    session.undo();
    await settle();
    expect([edits.length, log, notes]).toEqual([1, ["i0"], ["the audit was deleted"]]);
    expect(shown()).toBe("i1");
  });
  it("says that there is nothing to undo", async () => {
    session.undo();
    expect(notes).toEqual(["Nothing to undo."]);
    expect(counted("audit_edit")).toBe(0);
  });
  it("fits once when it is due, and keeps the label that is shown", async () => {
    due = true;
    session.decide(keep, false);
    session.decide(keep, false);
    await settle();
    expect([counted("audit_refit"), ...session.snapshot().items.slice(0, 3).map((one) => one.id)]).toEqual([1, "i2", "i39", "i38"]);
    expect(session.snapshot().fitting).toBe(false);
  });
  it("loads what others decided", async () => {
    undecided = undecided.slice(3);
    stale = true;
    await session.poll();
    await settle();
    expect([shown(), session.snapshot().total]).toEqual(["i3", 37]);
  });
  it("decides for a whole group by one edit", async () => {
    undecided = [item("g1", { group: "patient 7" }), item("x"), item("g2", { group: "patient 7" })];
    session.open({ p_wrong: 0.5 });
    await settle();
    session.decide({ decision: "accept", label: null }, true);
    expect([shown(), session.snapshot().items.length]).toEqual(["x", 1]);
    await settle();
    expect(edits).toEqual([{ verb: "decide", group: "patient 7", decision: "accept", label: null }]);
  });
});
