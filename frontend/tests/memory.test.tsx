// What the panel shows again after the page is reloaded.
import { cleanup } from "@testing-library/react";
import { describe, expect, it } from "vitest";

import { events, click, fakeBoard, openBoard, openSecondRun, part, world } from "./fakeBoard";

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
