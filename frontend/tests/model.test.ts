import { describe, expect, it } from "vitest";

import type { Cluster } from "../src/model/api";
import { arrange, follow, nearestTo, nextUnreviewed, progressOf, withChanges } from "../src/model/clusters";
import { drawFlow } from "../src/model/flow";
import { clusterShown, isPut, isWhole } from "../src/model/gridView";
import { commandOf } from "../src/model/keys";
import { cellsInside, pagesOf, scrollToShow, visibleCells } from "../src/model/layout";
import { mergedGroups } from "../src/model/sidebar";
import { add, chosen, clearSelection, countSelected, extendTo, isSelected, NOTHING, selectAll, step, toggle } from "../src/model/selection";

const ids = Array.from({ length: 10 }, (_, index) => `id${index}`);
const idAt = (index: number): string | undefined => ids[index];

function cluster(name: string, size: number, more: Partial<Cluster> = {}): Cluster {
  return {
    name, size, reviewed: false, noise: false, distance: null, confidence: null, uncertain: 0, changes: null,
    stability: null, outlier_from: null, numbers: [], majority: null, majority_share: null, key_words: [], ...more,
  };
}

describe("selection", () => {
  it("toggles single images", () => {
    const one = toggle(NOTHING, "id3", 3);
    expect(isSelected(one, "id3")).toBe(true);
    expect(countSelected(toggle(one, "id3", 3), 10)).toBe(0);
  });
  it("extends from the anchor, forwards and backwards", () => {
    const from = toggle(NOTHING, "id4", 4);
    expect([...extendTo(from, 6, idAt).ids]).toEqual(["id4", "id5", "id6"]);
    expect([...extendTo(extendTo(from, 6, idAt), 3, idAt).ids]).toEqual(["id3", "id4"]);
  });
  it("selects all images but some, also those that are not loaded", () => {
    const all = toggle(selectAll(NOTHING), "id2", 2);
    expect(countSelected(all, 500)).toBe(499);
    expect(chosen(all, "cat")).toEqual({ cluster: "cat", except: ["id2"] });
    expect(countSelected(add(all, ["id2"]), 500)).toBe(500);
    expect(countSelected(clearSelection(all), 500)).toBe(0);
  });
  it("steps within the images", () => {
    expect(step(0, "ArrowLeft", 4, 3, 10)).toBe(0);
    expect(step(1, "ArrowUp", 4, 3, 10)).toBe(1);
    expect(step(5, "ArrowDown", 4, 3, 10)).toBe(9);
    expect(step(7, "ArrowDown", 4, 3, 10)).toBe(9);
    expect(step(9, "ArrowDown", 4, 3, 10)).toBe(9);
    expect(step(5, "End", 4, 3, 10)).toBe(9);
    expect(step(5, "PageUp", 4, 3, 10)).toBe(0);
  });
});

describe("layout", () => {
  it("draws one screen before and after the visible one", () => {
    expect(visibleCells(1000, 100, 450, 300, 3000)).toEqual({ columns: 4, rows: 250, height: 25000, first: 108, last: 144 });
  });
  it("has one column in a panel narrower than a cell", () => {
    expect(visibleCells(3, 100, 60, 300, 0).columns).toBe(1);
  });
  it("needs the pages of the visible cells", () => {
    expect(pagesOf(190, 401, 200)).toEqual([0, 200, 400]);
    expect(pagesOf(0, 0, 200)).toEqual([]);
  });
  it("scrolls only to hidden rows", () => {
    expect(scrollToShow(5, 4, 100, 300, 0)).toBe(0);
    expect(scrollToShow(16, 4, 100, 300, 0)).toBe(200);
    expect(scrollToShow(0, 4, 100, 300, 200)).toBe(0);
  });
  it("finds the cells in a rectangle", () => {
    expect(cellsInside({ left: 50, top: 50, right: 150, bottom: 150 }, 4, 100, 6)).toEqual([0, 1, 4, 5]);
    expect(cellsInside({ left: 350, top: 150, right: 900, bottom: 250 }, 4, 100, 6)).toEqual([]);
  });
});

describe("clusters", () => {
  const clusters = [cluster("cluster-2", 5), cluster("cluster-10", 9, { reviewed: true }), cluster("no cluster", 90, { noise: true })];
  it("sorts names by number and the images without cluster last", () => {
    expect(arrange(clusters, "name", { search: "", only: "all" }).map((c) => c.name)).toEqual(["cluster-2", "cluster-10", "no cluster"]);
  });
  it("puts missing values last", () => {
    const mixed = [cluster("a", 1), cluster("b", 1, { confidence: 0.9 }), cluster("c", 1, { confidence: 0.1 })];
    expect(arrange(mixed, "confidence", { search: "", only: "all" }).map((c) => c.name)).toEqual(["c", "b", "a"]);
  });
  it("searches names and key words", () => {
    const named = [cluster("a", 1, { key_words: ["Beach"] }), cluster("b", 1)];
    expect(arrange(named, "size", { search: "bea", only: "all" }).map((c) => c.name)).toEqual(["a"]);
  });
  it("goes to the first unreviewed cluster", () => {
    expect(nextUnreviewed(clusters, null)).toBe("cluster-2");
    expect(nextUnreviewed(clusters, "cluster-2")).toBe(null);
  });
  it("finds the nearest cluster under its present name", () => {
    const [a, b, c] = [cluster("cat", 5, { numbers: [0, 2] }), cluster("dog", 9, { numbers: [1] }), cluster("cow", 9, { numbers: [3] })];
    expect(nearestTo(c, [a, b, c], { "3": [2, 1, 0] })).toBe("dog"); // number 2 is a minor part of cat
    expect(nearestTo(a, [a, b, c, cluster("kitten", 1, { numbers: [0] })], { "0": [1] })).toBe("kitten");
    expect(nearestTo(a, [a], { "0": [1] })).toBe(null);
  });
  it("counts what is reviewed without the images in no cluster", () => {
    expect(progressOf(clusters)).toEqual({ clusters: 2, clustersReviewed: 1, images: 14, imagesReviewed: 9 });
  });
  it("replaces changed clusters and removes others", () => {
    const after = withChanges(clusters, [cluster("cat", 14)], ["cluster-2", "cluster-10"]);
    expect(after.map((c) => c.name).sort()).toEqual(["cat", "no cluster"]);
  });
});

describe("the flow of images through the rounds", () => {
  const flow = { n_images: 10, rounds: [1, 4], groups: [[[3, 6], [0, 4]], [[7, 10]]], links: [[[3, 7, 6], [0, 7, 4]]] } as const;
  it("fills the height, and ribbons fill the blocks", () => {
    const { blocks, ribbons } = drawFlow(flow, 100, 50, 10, 10);
    expect(blocks.map((block) => [block.x, block.y, block.height])).toEqual([[0, 0, 24], [0, 34, 16], [90, 0, 40]]);
    expect(ribbons.map((ribbon) => [ribbon.x0, ribbon.y0, ribbon.x1, ribbon.y1, ribbon.height])).toEqual([[10, 0, 90, 0, 24], [10, 34, 90, 24, 16]]);
  });
});

describe("the App's view", () => {
  const [own, put] = [{ _uuid: "1f" }, { _uuid: "deepcluster-2" }];
  it("tells what the panel has put there from the user's own", () => {
    expect([[], [own], [put], [own, put]].map(isPut)).toEqual([false, false, true, true]);
    expect([[], [own], [put], [own, put], null].map(isWhole)).toEqual([true, false, true, false, true]);
  });
  it("tells the cluster of the run that the panel has put there", () => {
    const run = { key: "dc", label_path: "dc.label" };
    const stage = (filter: unknown) => ({ ...put, kwargs: [["field", "objects"], ["filter", filter]] });
    const images = stage({ "dc.label": { $in: ["one"] } });
    const shown = (stages: unknown) => clusterShown(stages, run);
    expect([images, stage({ $in: ["$$this.dc", ["one"]] })].map((put) => shown([own, put]))).toEqual(["one", "one"]);
    expect([stage({ "other.label": { $in: ["one"] } }), stage({ "dc.label": { $in: ["one", "two"] } }), stage({ $in: ["$$this.other", ["one"]] }), { ...images, ...own }].map((put) => shown([put]))).toEqual([null, null, null, null]);
    expect([shown(null), shown([put]), clusterShown([images], null)]).toEqual([null, null, null]);
  });
});

describe("groups of the sidebar", () => {
  const group = (name: string, ...paths: string[]) => ({ name, paths, expanded: null });
  it("are the stored ones; fields of the browser stay in their group", () => {
    const shown = [group("labels", "truth", "dc"), group("mine", "x"), group("other", "new")];
    expect(mergedGroups([group("labels", "truth"), group("dc", "dc")], shown)).toEqual([
      group("labels", "truth"), group("dc", "dc"), group("mine", "x"), group("other", "new"),
    ]);
  });
  it("are left alone if the browser has them", () => {
    expect(mergedGroups([group("dc", "dc")], [group("dc", "dc", "more"), group("mine")])).toBe(null);
    expect(mergedGroups([], [group("mine", "x")])).toBe(null);
  });
  it("of deleted runs go", () => {
    expect(mergedGroups([], [group("mine", "x"), group("dc", "dc")], ["dc"])).toEqual([group("mine", "x")]);
  });
});

describe("the open cluster", () => {
  const clusters = [cluster("cat", 5), cluster("dog", 7), cluster("noise", 9, { noise: true })];
  const touched = (...names: string[]) => new Set(names);
  it("stays", () => expect(follow(clusters, "cat", touched("cat", "dog"))?.name).toBe("cat"));
  it("is followed to its new name", () => expect(follow(clusters, "cluster-00", touched("cluster-00", "cat"))?.name).toBe("cat"));
  it("is closed if its images are in no cluster", () =>
    expect(follow(clusters, "cluster-00", touched("cluster-00", "noise"))).toBe(null));
  it("is closed if another run or another person removed it", () => {
    expect(follow(clusters, "cluster-00", null)).toBe(null);
    expect(follow(clusters, "cluster-00", touched("cat"))).toBe(null);
  });
  it("is none in the overview", () => expect(follow(clusters, null, touched("cat"))).toBe(null));
});

describe("keys", () => {
  const press = (key: string, more = {}) => ({ key, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false, ...more });
  it("has one meaning for a key on a page", () => {
    expect(commandOf(press("Enter"), "overview")).toBe("open");
    expect(commandOf(press("Enter"), "cluster")).toBe("reviewed");
    expect(commandOf(press("x"), "overview")).toBe(null);
  });
  it("tells undo from redo", () => {
    expect(commandOf(press("z", { ctrlKey: true }), "cluster")).toBe("undo");
    expect(commandOf(press("Z", { ctrlKey: true, shiftKey: true }), "cluster")).toBe("redo");
    expect(commandOf(press("z"), "cluster")).toBe(null);
  });
  it("reads brackets typed with AltGr, and leaves letters with Alt to the browser", () => {
    expect(commandOf(press("[", { ctrlKey: true, altKey: true }), "cluster")).toBe("previous");
    expect(commandOf(press("]", { altKey: true }), "cluster")).toBe("next");
    expect(commandOf(press("n", { altKey: true }), "cluster")).toBe(null);
    expect(commandOf(press("z", { ctrlKey: true, altKey: true }), "cluster")).toBe(null);
  });
  it("reads ? with Shift", () => {
    expect(commandOf(press("?", { shiftKey: true }), "overview")).toBe("help");
  });
});
