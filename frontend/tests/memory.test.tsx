// What the panel shows again after the page is reloaded.
import { cleanup } from "@testing-library/react";
import React from "react";
import { describe, expect, it } from "vitest";

import { Board } from "../src/components/Board";
import { answer, events, click, fakeBoard, openBoard, openSecondRun, part, settle, uris, wait, world } from "./fakeBoard";
import { server } from "./app";

fakeBoard();

const isShown = (tab: string): boolean => part(`dc-tab-${tab}`)?.getAttribute("aria-selected") === "true";
const lastRun = (): unknown => events("load").pop()?.[1]["key"];

/** The page is loaded again: nothing but the browser's storage is left. */
async function reload(view: Record<string, unknown>): Promise<void> {
  cleanup();
  world.asked = [];
  await openBoard(undefined, view);
}

describe("after the page is reloaded", () => {
  it("the run and the tab are those that were shown last", async () => {
    await openBoard(undefined, { dataset: "d1" });
    await openSecondRun();
    click("dc-tab-compare");
    await reload({ dataset: "d1" });
    expect(lastRun()).toBe("other");
    expect(isShown("compare")).toBe(true);
    expect(part("dc-run")?.textContent).toContain("other");
  });
  it("another dataset has its own", async () => {
    await openBoard(undefined, { dataset: "d1" });
    await openSecondRun();
    await reload({ dataset: "d2" });
    expect(lastRun()).toBe(null);
    expect(isShown("clusters")).toBe(true);
  });
  it("a panel that is opened for another run shows that", async () => {
    await openBoard(undefined, { dataset: "d1", run: "other" });
    click("dc-tab-runs");
    await reload({ dataset: "d1", run: "dc" });
    expect(lastRun()).toBe("dc");
    expect(isShown("clusters")).toBe(true);
  });
  it.each(["{", "7", "null", '{"asked": null, "run": 7, "tab": "toString"}', '{"asked": null, "tab": "gone"}'])("what is stored as %s changes nothing", async (stored) => {
    sessionStorage.setItem("fiftyone-deepcluster d1", stored);
    await openBoard(undefined, { dataset: "d1" });
    expect(lastRun()).toBe(null);
    expect(isShown("clusters")).toBe(true);
  });
});

describe("when the App opens another dataset while the panel is open", () => {
  const kept = (dataset: string): unknown => JSON.parse(sessionStorage.getItem(`fiftyone-deepcluster ${dataset}`) ?? "null");

  it("the run and the tab are those of that dataset, also before its answer is there", async () => {
    await openBoard(undefined, { dataset: "d2" });
    click("dc-tab-rounds");
    cleanup();
    const { rerender } = await openBoard(undefined, { dataset: "d1" });
    await openSecondRun();
    click("dc-tab-compare");
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    server.answer = async (event, params) => {
      if (event === "load") await held;
      return answer(event, params);
    };
    rerender(<Board schema={{ view: { ...uris, dataset: "d2" } }} />);
    await wait(50);
    expect(kept("d2")).toEqual({ asked: null, run: "dc", tab: "rounds" });
    expect(part("dc-tab-compare")).toBe(null); // nothing of the other dataset
    letGo();
    await settle();
    expect(lastRun()).toBe("dc");
    expect(isShown("rounds")).toBe(true);
    expect(kept("d2")).toEqual({ asked: null, run: "dc", tab: "rounds" });
    expect(kept("d1")).toEqual({ asked: null, run: "other", tab: "compare" });
  });
});
