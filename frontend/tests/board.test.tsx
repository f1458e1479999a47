// The board with a server of a few clusters: what keys and answers do, also when they come in another order.
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import React from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Board } from "../src/components/Board";
import { pathOf, widthOf } from "../src/components/LineChart";
import type { Cluster, Edit, JobRow, LoadAnswer, SidebarGroup } from "../src/model/api";
import { panelStates, server, state } from "./app";

const EVENTS = [
  "load", "strips", "images", "edit", "names", "poll", "in_view", "preview_commit", "preview_split", "show", "color", "similar", "flow",
  "cancel", "show_fields",
];
const schema = { view: Object.fromEntries(EVENTS.map((name) => [name, name])) };

function cluster(name: string, size: number): Cluster {
  return {
    name, size, reviewed: false, noise: false, distance: null, confidence: null, uncertain: 0, changes: null,
    stability: null, outlier_from: null, numbers: [], majority: null, majority_share: null, key_words: [],
  };
}

function loaded(key: string, clusters: Cluster[], field: string | null = null): LoadAnswer {
  const runs = ["dc", "other"].map((name) => ({
    key: name, method: "frozen", status: "finished" as const, text: "", fraction: null, started: null, cancelling: false, resumable: false, again: false, charts: [],
  }));
  const run = {
    key, method: "frozen", unit: "image" as const, label_fields: ["truth"],
    label_path: `${key}.label`, map: `${key}_viz`, rounds: 1, verdict: "",
    facts: "", warnings: [], resumable: false,
  };
  const history = { undo: null, redo: null, lost: 0, version: 1 };
  return { runs, jobs, audits: [], sidebar, run, clusters, nearest: {}, history, label_field: field };
}

let jobs: JobRow[] = [];
let clusters: Cluster[] = [];
let sidebar: SidebarGroup[] = [];
let stale = false;
let asked: [string, Record<string, unknown>][] = [];
let edits: Edit[] = [];
let hold: Promise<void> = Promise.resolve();
let release: () => void = () => undefined;

/** Edits are answered after `release()`. */
function holdEdits(): void {
  hold = new Promise((resolve) => (release = resolve));
}

async function answer(event: string, params: Record<string, unknown>): Promise<{ value: unknown } | { message: string }> {
  asked.push([event, params]);
  if (event === "load") {
    return { value: loaded((params["key"] as string | null) ?? "dc", clusters, params["label_field"] as string | null) };
  }
  if (event === "strips") return { value: { strips: {} } };
  if (event === "names") return { value: { names: [] } };
  if (event === "show" || event === "color") return { value: null };
  if (event === "flow") return { value: { flow: null } };
  if (event === "images" || event === "similar") {
    const image = { path: "x.png", box: null, confidence: null, distance: null, margin: null, changes: null, cluster: "one", label: null };
    const images = ["a", "b", "c"].map((id) => ({ ...image, id, sample: id }));
    return { value: { images, total: 3 } };
  }
  if (event === "edit") {
    const edit = params["edit"] as Edit;
    edits.push(edit);
    await hold;
    const history = { undo: "it", redo: null, version: edits.length + 1 };
    const change = { n_changed: 1, n_kept: 0, text: edit.verb };
    if (edit.verb === "rename") {
      const changed = [{ ...cluster(edit.new_name, 5) }];
      return { value: { change, clusters: changed, gone: [edit.cluster], stale, history } };
    }
    if (edit.verb === "mark_reviewed") {
      const changed = clusters.filter((one) => edit.clusters.includes(one.name)).map((one) => ({ ...one, reviewed: true }));
      return { value: { change, clusters: changed, gone: [], stale, history } };
    }
    return { value: { change, clusters: [], gone: [], stale, history } };
  }
  if (event === "preview_split") return { message: "cluster 'one' has 1 images with vectors" };
  return { message: `no answer to ${event}` };
}

const part = (name: string): HTMLElement | null => document.querySelector(`[data-cy="${name}"]`);
const wait = async (milliseconds: number): Promise<void> => {
  await act(() => vi.advanceTimersByTimeAsync(milliseconds));
};
const settle = (): Promise<void> => wait(400);
const press = (key: string, more = {}): void => {
  fireEvent.keyDown(document.activeElement ?? document.body, { key, ...more });
};

async function openBoard(): Promise<void> {
  render(<Board schema={schema} />);
  await settle();
}

async function openCluster(name: string): Promise<void> {
  fireEvent.click(part(`dc-cluster-${name}`) as HTMLElement);
  await settle();
}

const shown = (): string | undefined => part("dc-cluster-name")?.textContent ?? undefined;

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true, toFake: ["setTimeout", "clearTimeout", "performance"] });
  vi.stubGlobal("ResizeObserver", class {
    observe(): void {}
    disconnect(): void {}
  });
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(600);
  vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(600);
  clusters = [cluster("one", 5), cluster("two", 4), cluster("three", 3)];
  jobs = [];
  sidebar = [];
  stale = false;
  asked = [];
  edits = [];
  hold = Promise.resolve();
  server.answer = answer;
  for (const name of Object.keys(state)) state[name] = undefined;
  state["sidebarGroups false"] = [];
  state["selectedSamples"] = new Map();
});
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("keys of the board", () => {
  it("marks one cluster when Enter is pressed twice at once", async () => {
    await openBoard();
    await openCluster("one");
    press("Enter");
    press("Enter");
    await settle();
    expect(edits).toEqual([{ verb: "mark_reviewed", clusters: ["one"], reviewed: true }]);
    expect(shown()).toBe("two");
  });
  it("opens, and does not mark, when Enter is pressed twice in the overview, or held", async () => {
    await openBoard();
    press("Enter");
    press("Enter");
    await settle();
    press("Enter", { repeat: true });
    await settle();
    expect(shown()).toBe("one");
    expect(edits).toEqual([]);
  });
  it("rejects once when X is pressed twice before the answer", async () => {
    await openBoard();
    await openCluster("one");
    press(" ");
    holdEdits();
    press("x");
    press("x");
    release();
    await settle();
    expect(edits).toEqual([{ verb: "reject", images: { ids: ["a"] } }]);
  });
  it("moves the images that are selected in the App's grid", async () => {
    state["selectedSamples"] = new Map([["a", {}], ["z", {}]]);
    await openBoard();
    press("m");
    await settle();
    expect(part("dc-form-move")?.textContent).toContain("Move 2 images selected in the grid");
    fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: "two" } });
    fireEvent.submit(document.querySelector("form") as HTMLFormElement);
    await settle();
    expect(edits).toEqual([{ verb: "move", images: { ids: ["a", "z"] }, to: "two" }]);
  });
  it("change the order of the clusters and of the images", async () => {
    clusters = [cluster("one", 5), { ...cluster("two", 4), confidence: 0.1 }, { ...cluster("three", 3), confidence: 0.9 }];
    await openBoard();
    press("o");
    await settle();
    expect(part("dc-order")?.textContent).toContain("Most mixed first");
    press("Enter");
    await settle();
    expect(shown()).toBe("two");
    const orders = [];
    for (let at = 0; at < 4; at++) {
      press("o");
      await settle();
      orders.push(asked.filter(([event]) => event === "images").pop()?.[1]["order"]);
    }
    expect(orders).toEqual(["farthest", "uncertain", "random", "nearest"]); // a run of one round has no changes
  });
  it("leaves Enter to the button that has the focus", async () => {
    await openBoard();
    await openCluster("one");
    (part("dc-do-split") as HTMLElement).focus();
    press("Enter");
    expect(edits).toEqual([]);
    press("n");
    expect(part("dc-form-name")).not.toBe(null);
  });
  it("returns to the board after every dialog", async () => {
    await openBoard();
    await openCluster("one");
    for (const [key, dialog] of [["n", "name"], ["s", "split"], ["j", "join"], ["l", "commit"]] as const) {
      press(key);
      await settle();
      expect(part(`dc-form-${dialog}`)).not.toBe(null);
      expect(document.activeElement?.tagName).toBe("INPUT");
      press("Escape");
      await settle();
      expect(part(`dc-form-${dialog}`)).toBe(null);
      expect(document.activeElement).toBe(part("dc-clusters"));
    }
  });
});

describe("the next cluster", () => {
  it("is that of the order of the overview", async () => {
    clusters = [cluster("one", 5), { ...cluster("two", 4), uncertain: 1 }, { ...cluster("three", 3), uncertain: 2 }];
    await openBoard();
    fireEvent.click(part("dc-look-table") as HTMLElement);
    await openCluster("one");
    press("Enter");
    await settle();
    expect(shown()).toBe("two"); // largest first
    press("Escape");
    fireEvent.click(part("dc-look-table") as HTMLElement);
    fireEvent.click(part("dc-sort-uncertain") as HTMLElement);
    await openCluster("one");
    press("Enter");
    await settle();
    expect(shown()).toBe("three");
  });
});

describe("a dialog", () => {
  it("keeps the key that opens the App's operators", async () => {
    await openBoard();
    await openCluster("one");
    press("n");
    const heard: string[] = [];
    const listen = (event: KeyboardEvent): void => void heard.push(event.key);
    document.addEventListener("keydown", listen);
    press("`");
    press("a");
    document.removeEventListener("keydown", listen);
    expect(heard).toEqual(["a"]);
  });
});

describe("a chart", () => {
  it("draws a single value as a dot that can be seen", () => {
    const same = (value: number): number => value;
    expect(pathOf([null, 2], same, same)).toBe("M1.0 2.0L1.0 2.0");
    expect(widthOf([null, 2])).toBeGreaterThan(widthOf([1, 2]));
  });
});

describe("a key during an edit", () => {
  const rename = async (name: string): Promise<void> => {
    await openBoard();
    await openCluster("one");
    press("n");
    holdEdits();
    fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: name } });
    fireEvent.submit(document.querySelector("form") as HTMLFormElement);
    await settle();
  };
  it("that cannot wait for it says so", async () => {
    await rename("cat");
    press("r");
    expect(part("dc-message")?.textContent).toContain("still being saved");
    release();
    await settle();
    expect(edits.map((edit) => edit.verb)).toEqual(["rename"]);
  });
  it("marks the cluster under the name that it gets, and opens the next at once", async () => {
    await rename("cat");
    press("Enter");
    await settle();
    expect(shown()).toBe("two");
    expect(part("dc-foot")?.textContent).toContain("Saving…");
    press(" ");
    release();
    await settle();
    expect(part("dc-foot")?.textContent).not.toContain("Saving…");
    expect(edits).toEqual([
      { verb: "rename", cluster: "one", new_name: "cat" },
      { verb: "mark_reviewed", clusters: ["cat"], reviewed: true },
    ]);
    expect(shown()).toBe("two");
    expect(document.querySelectorAll('[data-selected="true"]').length).toBe(1); // what was selected since stays
  });
  it("marks nothing where the new name is refused", async () => {
    server.answer = async (event, params) => {
      const usual = await answer(event, params);
      return event === "edit" ? { message: "refused" } : usual;
    };
    await rename("cat");
    press("Enter");
    await settle();
    release();
    await settle();
    expect(edits.map((edit) => edit.verb)).toEqual(["rename"]);
    expect(part("dc-message")?.textContent).toContain("refused");
  });
  it("opens the table of labels, which is counted when the edit is saved", async () => {
    const counted = (): number => asked.filter(([event]) => event === "preview_commit").length;
    await rename("cat");
    press("l");
    await settle();
    expect(part("dc-dialog-ok")?.textContent).toBe("Counting…");
    expect(counted()).toBe(0);
    release();
    await settle();
    await settle();
    expect(counted()).toBe(1);
  });
  it("does not come back to a cluster that is being marked", async () => {
    await openBoard();
    await openCluster("one");
    holdEdits();
    press("Enter");
    await settle();
    expect(shown()).toBe("two");
    press("Enter");
    await settle();
    expect(shown()).not.toBe("one");
    release();
    await settle();
    expect(edits.map((edit) => (edit.verb === "mark_reviewed" ? edit.clusters : []))).toEqual([["one"], ["two"]]);
  });
});

describe("a dialog that is opened before the answer to an edit", () => {
  it("is about the cluster under its new name", async () => {
    await openBoard();
    await openCluster("one");
    press("n");
    holdEdits();
    fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: "cat" } });
    fireEvent.submit(document.querySelector("form") as HTMLFormElement);
    press("s");
    release();
    await settle();
    expect(part("dc-form-split")?.textContent).toContain("Split cat");
    expect(asked.filter(([event]) => event === "preview_split").pop()?.[1]["cluster"]).toBe("cat");
  });
  it("closes where the cluster is gone", async () => {
    await openBoard();
    await openCluster("one");
    press("s");
    clusters = clusters.slice(1);
    server.answer = async (event, params) =>
      event === "poll" ? { value: { runs: loaded("dc", []).runs, jobs, audits: [], stale: clusters.length === 2 } } : answer(event, params);
    await wait(6000);
    expect(part("dc-form-split")).toBe(null);
    expect(part("dc-message")?.textContent).toContain("There is no cluster one any more.");
  });
});

describe("an edit that the server refuses", () => {
  const type = (text: string): void => {
    fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: text } });
    fireEvent.submit(document.querySelector("form") as HTMLFormElement);
  };
  beforeEach(() => {
    server.answer = async (event, params) => {
      if (event !== "edit") return answer(event, params);
      await hold;
      return { message: "new_name='noise' is reserved" };
    };
  });
  it("opens its dialog again, as it was, with the reason", async () => {
    await openBoard();
    await openCluster("one");
    press("n");
    type("noise");
    await settle();
    expect((part("dc-dialog-name") as HTMLInputElement).value).toBe("noise");
    expect(part("dc-dialog-problem")?.textContent).toBe("new_name='noise' is reserved");
    expect(part("dc-message")).toBe(null);
    press("Escape");
    press("n");
    expect((part("dc-dialog-name") as HTMLInputElement).value).toBe("");
    expect(part("dc-dialog-problem")).toBe(null);
  });
  it("is reported without a dialog where another cluster was opened, or another dialog", async () => {
    await openBoard();
    await openCluster("one");
    for (const key of ["]", "s"]) {
      holdEdits();
      press("n");
      type("noise");
      press(key);
      release();
      await settle();
      expect(part("dc-form-name")).toBe(null);
      expect(part("dc-message")?.textContent).toContain("is reserved");
    }
  });
});

describe("a name that is completed", () => {
  it("can be that of a new cluster all the same, by Ctrl+Enter or by a button", async () => {
    await openBoard();
    await openCluster("one");
    for (const choose of [
      () => press("Enter", { ctrlKey: true }),
      () => fireEvent.click(part("dc-dialog-other") as HTMLElement),
    ]) {
      press(" ");
      press("m");
      fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: "thr" } });
      expect(part("dc-form-move")?.textContent).toContain("Enter: three. Ctrl+Enter: thr, which is new.");
      choose();
      await settle();
      expect(edits.pop()).toEqual({ verb: "move", images: { ids: ["a"] }, to: "thr" });
    }
  });
});

describe("similar images", () => {
  it("are asked for in the cluster, can be chosen one by one, and Escape leads back", async () => {
    await openBoard();
    await openCluster("one");
    press(" ");
    press("f");
    await settle();
    expect(asked.filter(([event]) => event === "similar").map(([, params]) => [params["ids"], params["clusters"]])).toEqual([[["a"], ["one"]]]);
    expect(part("dc-similar")).not.toBe(null);
    press("a", { ctrlKey: true });
    await settle();
    press("x");
    await settle();
    expect(edits).toEqual([{ verb: "reject", images: { ids: ["a", "b", "c"] } }]);
    press("Escape");
    await settle();
    expect(part("dc-similar")).toBe(null);
    expect(shown()).toBe("one");
  });
});

describe("what is shown in the grid", () => {
  it("is colored by the run, and the map follows the chosen run", async () => {
    state["nodes"] = [{ id: "map", type: "Embeddings" }];
    await openBoard();
    press("g");
    await wait(1000);
    expect(asked.filter(([event]) => event === "show" || event === "color").map(([event, params]) => [event, params["key"]])).toEqual([["show", "dc"], ["color", "dc"]]);
    expect(state["colorScheme"]).toEqual({ colorBy: "value" });
    expect(panelStates["map"]).toEqual({ openKey: "dc_viz", colorField: "dc.label" });
    fireEvent.click(part("dc-tab-runs") as HTMLElement);
    fireEvent.click(screen.getAllByText("Open")[1] as HTMLElement);
    await settle();
    await wait(1000);
    expect(panelStates["map"]).toEqual({ openKey: "other_viz", colorField: "other.label" });
  });
  it("gives way to the view of the user", async () => {
    state["view"] = [{ _cls: "Match", _uuid: "deepcluster-1" }];
    await openBoard();
    fireEvent.click(part("dc-show-all") as HTMLElement);
    expect(asked[asked.length - 1]).toEqual(["show", { key: "dc", cluster: null, ids: null }]);
    state["view"] = [];
  });
});

describe("the sidebar", () => {
  it("shows the group of a new run at once", async () => {
    state["sidebarGroups false"] = [{ name: "labels", paths: ["truth", "dc"], expanded: true }];
    sidebar = [{ name: "labels", paths: ["truth"], expanded: null }, { name: "dc", paths: ["dc"], expanded: null }];
    await openBoard();
    expect(state["sidebarGroups false"]).toEqual([
      { name: "labels", paths: ["truth"], expanded: true },
      { name: "dc", paths: ["dc"], expanded: null },
    ]);
  });
});

describe("the open cluster", () => {
  it("is followed to its new name, with the look of the images", async () => {
    await openBoard();
    await openCluster("one");
    fireEvent.click(part("dc-captions") as HTMLElement);
    press("n");
    fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: "cat" } });
    fireEvent.submit(document.querySelector("form") as HTMLFormElement);
    await settle();
    expect(shown()).toBe("cat");
    expect(part("dc-captions")?.getAttribute("aria-pressed")).toBe("true");
  });
  it("keeps the place in the images after an edit", async () => {
    await openBoard();
    await openCluster("one");
    press("ArrowRight");
    press(" ");
    press("x");
    await settle();
    expect(document.querySelectorAll('[data-selected="true"]').length).toBe(0);
    expect(part("dc-image-b")?.getAttribute("data-focused")).toBe("true");
  });
});

describe("an edit", () => {
  it("after the edit of another person shows that, too", async () => {
    await openBoard();
    await openCluster("one");
    clusters = [cluster("one", 5), cluster("by another", 4), cluster("three", 3)];
    stale = true;
    press("Enter");
    await settle();
    expect(asked.filter(([event]) => event === "edit").map(([, params]) => params["version"])).toEqual([1]);
    expect(shown()).toBe(undefined); // "two", which is gone
    expect(part("dc-cluster-by another")).not.toBe(null);
  });
});

describe("a job", () => {
  const job: JobRow = {
    key: "job-probe_layers-dc", verb: "probe_layers", about: "dc", method: "Probe layers", status: "running", text: "probe · 3 of 9",
    fraction: 0.3, started: 1, cancelling: false, again: true, made: "",
  };
  beforeEach(() => {
    server.answer = async (event, params) => {
      if (event === "cancel") jobs = jobs.map((one) => ({ ...one, cancelling: true }));
      if (event === "show_fields") asked.push([event, params]);
      const rows = { runs: loaded("dc", []).runs, jobs };
      if (event === "cancel") return { value: rows };
      if (event === "poll") return { value: { ...rows, audits: [], stale: false } };
      return event === "show_fields" ? { value: null } : answer(event, params);
    };
  });
  it("is shown with its progress, and can be cancelled once", async () => {
    jobs = [job];
    await openBoard();
    fireEvent.click(part("dc-tab-runs") as HTMLElement);
    expect(part(`dc-run-${job.key}`)?.textContent).toContain("Probe layersdc · running · probe · 3 of 9");
    expect(part(`dc-dismiss-${job.key}`)).toBe(null);
    fireEvent.click(part(`dc-cancel-${job.key}`) as HTMLElement);
    await settle();
    expect(part(`dc-cancel-${job.key}`)).toBe(null);
  });
  it("that has ended shows a notice, and what it wrote is loaded, also if it was never seen at work", async () => {
    await openBoard();
    jobs = [{ ...job, status: "finished", text: "conv3 is best" }];
    await wait(3000);
    expect(part("dc-message")?.textContent).toContain("conv3 is best");
    expect(asked.filter(([event]) => event === "load").length).toBe(2);
    expect(asked.filter(([event]) => event === "show_fields").length).toBe(1);
    await wait(6000);
    expect(asked.filter(([event]) => event === "load").length).toBe(2);
  });
  it("that has failed says why", async () => {
    jobs = [job];
    await openBoard();
    jobs = [{ ...job, status: "failed", text: "no such field" }];
    await wait(3000);
    expect(part("dc-message")?.textContent).toContain("Probe layers: no such field");
    fireEvent.click(part("dc-tab-runs") as HTMLElement);
    expect(part(`dc-why-${job.key}`)?.textContent).toBe("no such field");
  });
});

describe("answers", () => {
  it("of a run that was left are ignored", async () => {
    await openBoard();
    let late: () => void = () => undefined;
    server.answer = async (event, params) => {
      const value = await answer(event, params);
      if (event === "load" && params["key"] === "dc") await new Promise<void>((resolve) => (late = resolve));
      return value;
    };
    fireEvent.click(part("dc-tab-runs") as HTMLElement);
    const [first, second] = screen.getAllByText("Open");
    fireEvent.click(first as HTMLElement);
    fireEvent.click(second as HTMLElement);
    await settle();
    late();
    await settle();
    expect(part("dc-run")?.textContent).toContain("other");
  });
  it("that were on their way during an edit are asked for again", async () => {
    await openBoard();
    let late: () => void = () => undefined;
    let loads = 0;
    server.answer = async (event, params) => {
      const value = await answer(event, params);
      if (event === "poll") return { value: { runs: loaded("dc", []).runs, jobs, audits: [], stale: loads === 0 } };
      if (event === "load" && ++loads === 1) await new Promise<void>((resolve) => (late = resolve));
      return value;
    };
    await wait(5000);
    expect(loads).toBe(1);
    await openCluster("one");
    press("Enter");
    await settle();
    clusters = clusters.map((one) => ({ ...one, reviewed: one.name === "one" }));
    late();
    await settle();
    expect(loads).toBe(2);
    expect(part("dc-progress")?.textContent).toContain("1 of 3 clusters");
  });
  it("for a label field are about the run that is open", async () => {
    await openBoard();
    fireEvent.click(part("dc-tab-runs") as HTMLElement);
    fireEvent.click(screen.getAllByText("Open")[1] as HTMLElement);
    await settle();
    fireEvent.click(part("dc-tab-clusters") as HTMLElement);
    fireEvent.mouseDown(part("dc-label-field")?.querySelector("[role=combobox]") as HTMLElement);
    fireEvent.click(screen.getByRole("option", { name: "truth" }));
    await settle();
    expect(part("dc-label-field")?.textContent).toContain("truth");
    expect(part("dc-run")?.textContent).toContain("other");
  });
  it("of a split that cannot be made stand in the dialog", async () => {
    await openBoard();
    await openCluster("one");
    press("s");
    await settle();
    expect(part("dc-dialog-problem")?.textContent).toContain("has 1 images");
    expect(part("dc-dialog-ok")?.textContent).toBe("Preview");
  });
});

describe("Enter in the dialog of a split", () => {
  const enter = (): void => void fireEvent.submit(document.querySelector("form") as HTMLFormElement);
  const previews = (): unknown[] => asked.filter(([event]) => event === "preview_split").map(([, params]) => params["n_clusters"]);
  const parts = [{ size: 4, pictures: [] }, { size: 1, pictures: [] }];

  it("makes the preview where it failed, and then splits", async () => {
    await openBoard();
    await openCluster("one");
    press("s");
    await settle();
    expect(part("dc-split-state")?.textContent).toBe("Enter tries again.");
    server.answer = async (event, params) => {
      const usual = await answer(event, params);
      return event === "preview_split" ? { value: { parts } } : usual;
    };
    enter();
    await settle();
    expect(previews()).toEqual([2, 2]);
    expect(part("dc-form-split")?.textContent).toContain("4 images");
    expect(part("dc-dialog-ok")?.textContent).toBe("Split into 2");
    expect(edits).toEqual([]);
    enter();
    await settle();
    expect(edits[0]).toEqual({ verb: "split", cluster: "one", n_clusters: 2 });
  });
  it("waits for the preview, and says so", async () => {
    let arrive: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    server.answer = async (event, params) => {
      if (event !== "preview_split") return answer(event, params);
      asked.push([event, params]);
      await arrived;
      return { value: { parts } };
    };
    await openBoard();
    await openCluster("one");
    press("s");
    await settle();
    expect(part("dc-split-state")?.textContent).toBe("Computing the preview…");
    enter();
    await settle();
    expect(previews()).toEqual([2]);
    expect(edits).toEqual([]);
    arrive();
    await settle();
    expect(part("dc-split-state")?.textContent).toContain("Enter splits");
    enter();
    await settle();
    expect(edits.map((edit) => edit.verb)).toEqual(["split"]);
  });
  it("that is held down does not answer what it has just shown", async () => {
    await openBoard();
    await openCluster("one");
    press("s");
    await settle();
    const field = part("dc-dialog-number") as HTMLElement;
    expect(fireEvent.keyDown(field, { key: "Enter" })).toBe(true);
    expect(fireEvent.keyDown(field, { key: "Enter", repeat: true })).toBe(false);
  });
});
