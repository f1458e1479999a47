// The board with a server of a few clusters: what it shows, also when answers come in another order.
import { createTheme } from "@mui/material";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import React from "react";
import { beforeEach, describe, expect, it } from "vitest";

import { LineChart, colorsOf, pathOf, widthOf } from "../src/components/LineChart";
import type { JobRow } from "../src/model/api";
import { panelStates, server, state } from "./app";
import { answer, click, cluster, events, fakeBoard, loaded, openBoard, openCluster, openSecondRun, part, press, settle, shown, submitName, wait, world } from "./fakeBoard";

fakeBoard();

describe("a chart", () => {
  it("draws a single value as a dot that can be seen", () => {
    const same = (value: number): number => value;
    expect(pathOf([null, 2], same, same)).toBe("M1.0 2.0L1.0 2.0");
    expect(widthOf([null, 2])).toBeGreaterThan(widthOf([1, 2]));
  });
  it("names its axis, and shows a limit that no value reaches", () => {
    render(<LineChart title="Gain" unit="" lines={[{ name: "Gain", values: [0.5, 1] }]} positions={[2, 3]} axis="number of clusters" limit={[1.6, "stands out from 1.6"]} />);
    expect(part("dc-chart-axis")?.textContent).toBe("number of clusters");
    expect(part("dc-chart-limit")?.textContent).toBe("stands out from 1.6");
    expect(Number(part("dc-chart-limit")?.querySelector("line")?.getAttribute("y1"))).toBe(6);
  });
  it("has lines in different colors where the warning color is the primary one, as in FiftyOne's light theme", () => {
    const { palette } = createTheme({ palette: { primary: { main: "#ff6d04" }, warning: { main: "#ff6d04" } } });
    expect(new Set(colorsOf(palette)).size).toBe(colorsOf(palette).length);
  });
});

describe("similar images", () => {
  it("are asked for in the cluster, can be chosen one by one, and Escape leads back", async () => {
    await openBoard("one");
    press(" ");
    press("f");
    await settle();
    expect(events("similar").map(([, params]) => [params["ids"], params["clusters"]])).toEqual([[["a"], ["one"]]]);
    expect(part("dc-similar")).not.toBe(null);
    press("a", { ctrlKey: true });
    await settle();
    press("x");
    await settle();
    expect(world.edits).toEqual([{ verb: "reject", images: { ids: ["a", "b", "c"] } }]);
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
    expect(world.asked.filter(([event]) => event === "show" || event === "color").map(([event, params]) => [event, params["key"]])).toEqual([["show", "dc"], ["color", "dc"]]);
    expect(state["colorScheme"]).toEqual({ colorBy: "value" });
    expect(panelStates["map"]).toEqual({ openKey: "dc_viz", colorField: "dc.label" });
    await openSecondRun();
    await wait(1000);
    expect(panelStates["map"]).toEqual({ openKey: "other_viz", colorField: "other.label" });
  });
  it("is a cluster under its new name after a rename, and the user's view after the cluster is gone", async () => {
    const put = (name: string): unknown => [{ _uuid: "deepcluster-1", kwargs: [["filter", { "dc.label": { $in: [name] } }]] }];
    world.clusters = [{ ...cluster("one", 5), numbers: [7] }, cluster("two", 4)];
    await openBoard("two");
    state["view"] = put("one");
    const rename = async (name: string, numbers: readonly number[]): Promise<void> => {
      world.clusters = [{ ...cluster(name, 5), numbers }, cluster("two", 4)];
      click("dc-tab-runs");
      fireEvent.click(screen.getAllByText("Open")[0] as HTMLElement); // reads what others have edited
      await settle();
    };
    await rename("new", [7]);
    expect(events("show").map(([, params]) => params["cluster"])).toEqual(["new"]);
    state["view"] = put("new");
    await rename("other", [8]);
    expect(events("show").map(([, params]) => params["cluster"])).toEqual(["new", null]);
    state["view"] = [];
    await rename("another", [8]);
    expect(events("show")).toHaveLength(2);
  });
  it("is what was asked for last, also where the answer to the view before comes late or fails", async () => {
    let fails: (answer: { message: string }) => void = () => undefined;
    const late = new Promise<{ message: string }>((resolve) => (fails = resolve));
    let views = 0;
    server.answer = (event, params) => (event === "show" && ++views === 1 ? late : answer(event, params));
    await openBoard("one");
    press("g");
    press("Escape");
    await settle();
    press("g");
    await settle();
    expect(views).toBe(1);
    fails({ message: "no such cluster" });
    await settle();
    expect(views).toBe(2);
    expect(part("dc-message")?.textContent).toContain("no such cluster");
  });
  it("is what was asked for last, also after a view that is never answered", async () => {
    let views = 0;
    let answers: (answer: { value: unknown }) => void = () => undefined;
    const late = new Promise<{ value: unknown }>((resolve) => (answers = resolve));
    const never = new Promise<{ value: unknown }>(() => undefined);
    server.answer = (event, params) => (event !== "show" ? answer(event, params) : [never, late][views++] ?? answer(event, params));
    await openBoard("one");
    for (let times = 0; times < 3; times++) {
      press("g");
      await settle();
    }
    expect(views).toBe(1);
    await wait(10000);
    expect(views).toBe(2);
    await wait(5000);
    expect(views).toBe(2);
    answers({ value: null });
    await settle();
    expect(views).toBe(3);
  });
  it("gives way to the view of the user", async () => {
    state["view"] = [{ _cls: "Match", _uuid: "deepcluster-1" }];
    await openBoard();
    click("dc-show-all");
    expect(world.asked[world.asked.length - 1]).toEqual(["show", { key: "dc", cluster: null, ids: null }]);
    state["view"] = [];
  });
});

describe("the ranking of the runs", () => {
  it("is shown on request from three runs on, and opens a run", async () => {
    const three = (event: string, params: Record<string, unknown>): ReturnType<typeof answer> => {
      if (event === "rank") return Promise.resolve({ value: { rows: [{ key: "other", nmi: 0.9123, clusters: 4 }, { key: "dc", nmi: 0.8, clusters: 4 }] } });
      if (event !== "load") return answer(event, params);
      const found = loaded((params["key"] as string | null) ?? "dc", world.clusters);
      return Promise.resolve({ value: { ...found, runs: [...found.runs, { ...found.runs[0], key: "third" }] } });
    };
    await openBoard();
    click("dc-tab-compare");
    expect(part("dc-rank")).toBe(null);
    cleanup();
    server.answer = three;
    await openBoard();
    click("dc-tab-compare");
    click("dc-rank");
    await settle();
    expect(part("dc-ranked-other")?.textContent).toBe("other0.9124");
    fireEvent.click(screen.getByRole("button", { name: "other" }));
    await settle();
    expect(part("dc-ranked-dc")).toBe(null);
    click("dc-rank");
    await settle();
    expect(part("dc-ranked-other")?.textContent).toContain("other (open)");
  });
  it("is that of the clusters as they are, not that of before an edit", async () => {
    let ranks: (answer: { value: unknown }) => void = () => undefined;
    const late = new Promise<{ value: unknown }>((resolve) => (ranks = resolve));
    server.answer = async (event, params) => {
      if (event === "rank") return late;
      if (event !== "load") return answer(event, params);
      const found = loaded("dc", world.clusters);
      const third = { ...found.runs[0], key: "third" };
      return { value: { ...found, runs: [...found.runs, third], history: { ...found.history, undo: "it" } } };
    };
    await openBoard();
    click("dc-tab-compare");
    click("dc-rank");
    await settle();
    click("dc-undo");
    await settle();
    expect(world.edits).toEqual([{ verb: "undo" }]);
    ranks({ value: { rows: [{ key: "other", nmi: 0.9, clusters: 4 }] } });
    await settle();
    expect(part("dc-rank")).not.toBe(null);
    expect(part("dc-ranking")).toBe(null);
  });
});

describe("a message", () => {
  it("is shown beside one that follows it at once, and once if it comes again", async () => {
    await openBoard("one");
    press("x");
    press("z", { ctrlKey: true });
    press("x");
    await settle();
    const texts = [...document.querySelectorAll('[data-cy="dc-message"]')].map((shown) => shown.textContent);
    expect(texts.map((text) => text?.split(".")[0])).toEqual([expect.stringContaining("Select images first"), "Nothing to undo"]);
    fireEvent.click(screen.getAllByRole("button", { name: "Close" })[0] as HTMLElement);
    await settle();
    expect(part("dc-message")?.textContent).toContain("Nothing to undo");
  });
  it("that follows another is shown for its own time", async () => {
    await openBoard("one");
    const waitSeconds = async (seconds: number): Promise<void> => {
      for (let halves = 0; halves < 2 * seconds; halves++) await wait(500); // it fades out after a state has changed
    };
    press("x");
    await waitSeconds(3);
    press("x");
    await waitSeconds(2);
    expect(part("dc-message")?.textContent).toContain("Select images first");
    await waitSeconds(3);
    expect(part("dc-message")).toBe(null);
  });
});

describe("the sidebar", () => {
  it("shows the group of a new run at once", async () => {
    state["sidebarGroups false"] = [{ name: "labels", paths: ["truth", "dc"], expanded: true }];
    world.sidebar = [{ name: "labels", paths: ["truth"], expanded: null }, { name: "dc", paths: ["dc"], expanded: null }];
    await openBoard();
    expect(state["sidebarGroups false"]).toEqual([
      { name: "labels", paths: ["truth"], expanded: true },
      { name: "dc", paths: ["dc"], expanded: null },
    ]);
  });
});

describe("the open cluster", () => {
  it("is followed to the name that another person gives it", async () => {
    const numbered = (name: string, number: number): ReturnType<typeof cluster> => ({ ...cluster(name, 5), numbers: [number] });
    world.clusters = [numbered("one", 1), numbered("two", 2)];
    let loads = 0;
    server.answer = async (event, params) => {
      if (event === "load" && ++loads === 2) world.clusters = [numbered("cat", 1), numbered("two", 2)];
      if (event === "poll") return { value: { runs: loaded("dc", []).runs, jobs: [], audits: [], stale: loads === 1 } };
      return event === "show_edits" ? { value: null } : answer(event, params);
    };
    await openBoard("one");
    expect(shown()).toBe("one");
    await wait(3000);
    expect(loads).toBe(2);
    expect(shown()).toBe("cat");
  });
  it("is followed to its new name, with the look of the images", async () => {
    await openBoard("one");
    click("dc-captions");
    press("n");
    submitName("cat");
    await settle();
    expect(shown()).toBe("cat");
    expect(part("dc-captions")?.getAttribute("aria-pressed")).toBe("true");
  });
  it("keeps the place in the images after an edit", async () => {
    await openBoard("one");
    press("ArrowRight");
    press(" ");
    press("x");
    await settle();
    expect(document.querySelectorAll('[data-selected="true"]').length).toBe(0);
    expect(part("dc-image-b")?.getAttribute("data-focused")).toBe("true");
  });
});

describe("an edit", () => {
  it("that creates a label field shows it among the fields at once", async () => {
    server.answer = async (event, params) => {
      const found = await answer(event, params);
      return event === "edit" && "value" in found ? { value: { ...(found.value as object), label_fields: ["truth", "mine"] } } : found;
    };
    await openBoard();
    press("n");
    submitName("cat");
    await settle();
    fireEvent.mouseDown(part("dc-label-field")?.querySelector("[role=combobox]") as HTMLElement);
    expect(screen.getAllByRole("option").map((option) => option.textContent)).toContain("mine");
  });
  it("after the edit of another person shows that, too", async () => {
    await openBoard("one");
    world.clusters = [cluster("one", 5), cluster("by another", 4), cluster("three", 3)];
    world.stale = true;
    press("Enter");
    await settle();
    expect(events("edit").map(([, params]) => params["version"])).toEqual([1]);
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
      if (event === "cancel") world.jobs = world.jobs.map((one) => ({ ...one, cancelling: true }));
      if (event === "show_fields") world.asked.push([event, params]);
      const rows = { runs: loaded("dc", []).runs, jobs: world.jobs };
      if (event === "cancel") return { value: rows };
      if (event === "poll") return { value: { ...rows, audits: [], stale: false } };
      return event === "show_fields" ? { value: null } : answer(event, params);
    };
  });
  it("is shown with its progress, and can be cancelled once", async () => {
    world.jobs = [job];
    await openBoard();
    click("dc-tab-runs");
    expect(part(`dc-run-${job.key}`)?.textContent).toContain("Probe layersdc · running · probe · 3 of 9");
    expect(part(`dc-dismiss-${job.key}`)).toBe(null);
    click(`dc-cancel-${job.key}`);
    await settle();
    expect(part(`dc-cancel-${job.key}`)).toBe(null);
  });
  it("that has ended shows a notice, and what it wrote is loaded, also if it was never seen at work", async () => {
    await openBoard();
    world.jobs = [{ ...job, status: "finished", text: "conv3 is best" }];
    await wait(3000);
    expect(part("dc-message")?.textContent).toContain("conv3 is best");
    expect(events("load").length).toBe(2);
    expect(events("show_fields").length).toBe(1);
    await wait(6000);
    expect(events("load").length).toBe(2);
  });
  it("that has failed says why", async () => {
    world.jobs = [job];
    await openBoard();
    world.jobs = [{ ...job, status: "failed", text: "no such field" }];
    await wait(3000);
    expect(part("dc-message")?.textContent).toBe("Probe layers failed: no such field");
    click("dc-tab-runs");
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
    click("dc-tab-runs");
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
      if (event === "poll") return { value: { runs: loaded("dc", []).runs, jobs: world.jobs, audits: [], stale: loads === 0 } };
      if (event === "load" && ++loads === 1) await new Promise<void>((resolve) => (late = resolve));
      return value;
    };
    await wait(5000);
    expect(loads).toBe(1);
    await openCluster("one");
    press("Enter");
    await settle();
    world.clusters = world.clusters.map((one) => ({ ...one, reviewed: one.name === "one" }));
    late();
    await settle();
    expect(loads).toBe(2);
    expect(part("dc-progress")?.textContent).toContain("1 of 3 clusters");
  });
  it("for a label field are about the run that is open", async () => {
    await openBoard();
    await openSecondRun();
    click("dc-tab-clusters");
    fireEvent.mouseDown(part("dc-label-field")?.querySelector("[role=combobox]") as HTMLElement);
    fireEvent.click(screen.getByRole("option", { name: "truth" }));
    await settle();
    expect(part("dc-label-field")?.textContent).toContain("truth");
    expect(part("dc-run")?.textContent).toContain("other");
  });
  it("of a split that cannot be made stand in the dialog", async () => {
    await openBoard("one");
    press("s");
    await settle();
    expect(part("dc-dialog-problem")?.textContent).toContain("has 1 images");
    expect(part("dc-dialog-ok")?.textContent).toBe("Preview");
  });
});
