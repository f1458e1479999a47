// Keys of the board: what they do, also during an edit.
import { describe, expect, it } from "vitest";

import { asksBeforeClosing, server, state } from "./app";
import { answer, click, cluster, events, fakeBoard, holdEdits, openBoard, openCluster, part, press, release, settle, shown, submitName, world } from "./fakeBoard";

fakeBoard();

describe("closing the tab", () => {
  it("is asked about while edits are on their way, also after the panel is closed", async () => {
    const { unmount } = await openBoard("one");
    expect(asksBeforeClosing()).toBe(false);
    holdEdits();
    press("n");
    await settle();
    submitName("new");
    press("Enter");
    await settle();
    expect(asksBeforeClosing()).toBe(true);
    unmount();
    expect(asksBeforeClosing()).toBe(true);
    release();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["rename", "mark_reviewed"]);
    expect(asksBeforeClosing()).toBe(false);
  });
  it("is not asked about after an edit that was refused", async () => {
    await openBoard("one");
    server.answer = (event, params) => (event === "edit" ? Promise.resolve({ message: "no" }) : answer(event, params));
    press(" ");
    press("x");
    expect(asksBeforeClosing()).toBe(true);
    await settle();
    expect(asksBeforeClosing()).toBe(false);
  });
});

describe("keys of the board", () => {
  it("marks one cluster when Enter is pressed twice at once", async () => {
    await openBoard("one");
    press("Enter");
    press("Enter");
    await settle();
    expect(world.edits).toEqual([{ verb: "mark_reviewed", clusters: ["one"], reviewed: true }]);
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
    expect(world.edits).toEqual([]);
  });
  it("rejects once when X is pressed twice before the answer", async () => {
    await openBoard("one");
    press(" ");
    holdEdits();
    press("x");
    press("x");
    release();
    await settle();
    expect(world.edits).toEqual([{ verb: "reject", images: { ids: ["a"] } }]);
  });
  it("undoes an edit that is still being saved, and redoes it", async () => {
    await openBoard("one");
    press(" ");
    holdEdits();
    press("x");
    press("z", { ctrlKey: true });
    press("z", { ctrlKey: true, shiftKey: true });
    await settle();
    expect(part("dc-message")).toBe(null);
    release();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["reject", "undo", "redo"]);
  });
  it("undoes one edit at a time while the key is held", async () => {
    await openBoard("one");
    press(" ");
    press("x");
    await settle();
    holdEdits();
    press("z", { ctrlKey: true });
    for (let at = 0; at < 5; at++) press("z", { ctrlKey: true, repeat: true });
    release();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["reject", "undo"]);
    press("z", { ctrlKey: true, repeat: true });
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["reject", "undo", "undo"]);
  });
  it("moves the images that are selected in the App's grid", async () => {
    state["selectedSamples"] = new Map([["a", {}], ["z", {}]]);
    await openBoard();
    press("m");
    await settle();
    expect(part("dc-form-move")?.textContent).toContain("Move 2 images selected in the grid");
    submitName("two");
    await settle();
    expect(world.edits).toEqual([{ verb: "move", images: { ids: ["a", "z"] }, to: "two" }]);
  });
  it("change the order of the clusters and of the images", async () => {
    world.clusters = [cluster("one", 5), { ...cluster("two", 4), confidence: 0.1 }, { ...cluster("three", 3), confidence: 0.9 }];
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
      orders.push(events("images").pop()?.[1]["order"]);
    }
    expect(orders).toEqual(["farthest", "uncertain", "random", "nearest"]); // a run of one round has no changes
  });
  it("leaves Enter to the button that has the focus", async () => {
    await openBoard("one");
    (part("dc-do-split") as HTMLElement).focus();
    press("Enter");
    expect(world.edits).toEqual([]);
    press("n");
    expect(part("dc-form-name")).not.toBe(null);
  });
  it("returns to the board after every dialog", async () => {
    await openBoard("one");
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

describe("the list of keys", () => {
  it("has every key once for a page, with those that move", async () => {
    await openBoard();
    press("?");
    const sections = part("dc-help")?.querySelectorAll("h3") ?? [];
    expect([...sections].map((title) => title.textContent)).toEqual(["Overview and Cluster", "Overview", "Cluster"]);
    const keys = [...(part("dc-help")?.querySelectorAll("h3, kbd") ?? [])].map((one) => (one.tagName === "H3" ? "|" : "") + (one.textContent ?? ""));
    for (const section of keys.join(",").split("|")) {
      const shown = section.split(",");
      expect(new Set(shown).size).toBe(shown.length);
    }
    for (const key of ["Arrows", "Home", "Page up", "Enter"]) expect(keys.join(", ")).toContain(key);
  });
});

describe("the next cluster", () => {
  it("is that of the order of the overview", async () => {
    world.clusters = [cluster("one", 5), { ...cluster("two", 4), uncertain: 1 }, { ...cluster("three", 3), uncertain: 2 }];
    await openBoard();
    click("dc-look-table");
    await openCluster("one");
    press("Enter");
    await settle();
    expect(shown()).toBe("two"); // largest first
    press("Escape");
    click("dc-look-table");
    click("dc-sort-uncertain");
    await openCluster("one");
    press("Enter");
    await settle();
    expect(shown()).toBe("three");
  });
});

describe("a key during an edit", () => {
  const rename = async (name: string): Promise<void> => {
    await openBoard("one");
    press("n");
    holdEdits();
    submitName(name);
    await settle();
  };
  it("that cannot wait for it says so", async () => {
    await rename("cat");
    press("r");
    expect(part("dc-message")?.textContent).toContain("still being saved");
    release();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["rename"]);
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
    expect(world.edits).toEqual([
      { verb: "rename", cluster: "one", new_name: "cat" },
      { verb: "mark_reviewed", clusters: ["cat"], reviewed: true },
    ]);
    expect(shown()).toBe("two");
    expect(document.querySelectorAll('[data-selected="true"]').length).toBe(1); // what was selected since stays
  });
  it("marks it under the new name after a later edit, too, and waits where only the answer says the name", async () => {
    await rename("cat");
    press(" ");
    press("m");
    submitName("two");
    await settle();
    press("Enter");
    await settle();
    release();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["rename", "move", "mark_reviewed"]);
    expect(world.edits.pop()).toEqual({ verb: "mark_reviewed", clusters: ["cat"], reviewed: true });
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
    expect(world.edits.map((edit) => edit.verb)).toEqual(["rename"]);
    expect(part("dc-message")?.textContent).toContain("refused");
  });
  it("opens the table of labels, which is counted when the edit is saved", async () => {
    const counted = (): number => events("preview_commit").length;
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
    await openBoard("one");
    holdEdits();
    press("Enter");
    await settle();
    expect(shown()).toBe("two");
    press("Enter");
    await settle();
    expect(shown()).not.toBe("one");
    release();
    await settle();
    expect(world.edits.map((edit) => (edit.verb === "mark_reviewed" ? edit.clusters : []))).toEqual([["one"], ["two"]]);
  });
});
