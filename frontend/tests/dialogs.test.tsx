// Dialogs of the board: names, splits, and edits that the server refuses.
import { fireEvent } from "@testing-library/react";
import { beforeEach, describe, expect, it } from "vitest";

import { server } from "./app";
import { answer, cluster, events, fakeBoard, held, holdEdits, loaded, openBoard, part, press, release, settle, submitName, wait, world } from "./fakeBoard";

fakeBoard();

describe("a dialog", () => {
  it("keeps the key that opens the App's operators", async () => {
    await openBoard("one");
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

describe("a text that a dialog proposes", () => {
  it.each([["l", "dc-dialog-name", "label"], ["j", "dc-dialog-name", "two"], ["s", "dc-dialog-number", "2"]])("is replaced by what is typed after %s", async (key, field, proposed) => {
    world.clusters = ["one", "two"].map((name, at) => ({ ...cluster(name, 5 - at), numbers: [at] }));
    world.nearest = { 0: [1] };
    await openBoard();
    press(key);
    await settle();
    const input = part(field) as HTMLInputElement;
    expect(input.value).toBe(proposed);
    expect([input.selectionStart, input.selectionEnd]).toEqual([0, proposed.length]);
  });
});

describe("a dialog that is opened before the answer to an edit", () => {
  it("is about the cluster under its new name", async () => {
    await openBoard("one");
    press("n");
    holdEdits();
    submitName("cat");
    press("s");
    release();
    await settle();
    expect(part("dc-form-split")?.textContent).toContain("Split cat");
    expect(events("preview_split").pop()?.[1]["cluster"]).toBe("cat");
  });
  it("closes where the cluster is gone", async () => {
    await openBoard("one");
    press("s");
    world.clusters = world.clusters.slice(1);
    server.answer = async (event, params) =>
      event === "poll" ? { value: { runs: loaded("dc", []).runs, jobs: world.jobs, audits: [], stale: world.clusters.length === 2 } } : answer(event, params);
    await wait(6000);
    expect(part("dc-form-split")).toBe(null);
    expect(part("dc-message")?.textContent).toContain("There is no cluster one any more.");
  });
});

describe("an edit that the server refuses", () => {
  beforeEach(() => {
    server.answer = async (event, params) => {
      if (event !== "edit") return answer(event, params);
      await held();
      return { message: "new_name='noise' is reserved" };
    };
  });
  it("opens its dialog again, as it was, with the reason", async () => {
    await openBoard("one");
    press("n");
    submitName("noise");
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
    await openBoard("one");
    for (const key of ["]", "s"]) {
      holdEdits();
      press("n");
      submitName("noise");
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
    await openBoard("one");
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
      expect(world.edits.pop()).toEqual({ verb: "move", images: { ids: ["a"] }, to: "thr" });
    }
  });
});

describe("Enter in the dialog of a split", () => {
  const enter = (): void => void fireEvent.submit(document.querySelector("form") as HTMLFormElement);
  const previews = (): unknown[] => events("preview_split").map(([, params]) => params["n_clusters"]);
  const parts = [{ size: 4, pictures: [] }, { size: 1, pictures: [] }];

  it("makes the preview where it failed, and then splits", async () => {
    await openBoard("one");
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
    expect(world.edits).toEqual([]);
    enter();
    await settle();
    expect(world.edits[0]).toEqual({ verb: "split", cluster: "one", n_clusters: 2 });
  });
  it("waits for the preview, and says so", async () => {
    let arrive: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    server.answer = async (event, params) => {
      if (event !== "preview_split") return answer(event, params);
      world.asked.push([event, params]);
      await arrived;
      return { value: { parts } };
    };
    await openBoard("one");
    press("s");
    await settle();
    expect(part("dc-split-state")?.textContent).toBe("Computing the preview…");
    enter();
    await settle();
    expect(previews()).toEqual([2]);
    expect(world.edits).toEqual([]);
    arrive();
    await settle();
    expect(part("dc-split-state")?.textContent).toContain("Enter splits");
    enter();
    await settle();
    expect(world.edits.map((edit) => edit.verb)).toEqual(["split"]);
  });
  it("that is held down does not answer what it has just shown", async () => {
    await openBoard("one");
    press("s");
    await settle();
    const field = part("dc-dialog-number") as HTMLElement;
    expect(fireEvent.keyDown(field, { key: "Enter" })).toBe(true);
    expect(fireEvent.keyDown(field, { key: "Enter", repeat: true })).toBe(false);
  });
});
