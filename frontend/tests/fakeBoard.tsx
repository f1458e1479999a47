// The board with a server of a few clusters, for tests of keys, dialogs and answers.
import { act, cleanup, fireEvent, render, screen, type RenderResult } from "@testing-library/react";
import React from "react";
import { afterEach, beforeEach, vi } from "vitest";

import { Board } from "../src/components/Board";
import type { Cluster, Edit, JobRow, LoadAnswer, SidebarGroup } from "../src/model/api";
import { server, state } from "./app";

const EVENTS = [
  "load", "strips", "images", "edit", "names", "poll", "in_view", "preview_commit", "preview_split", "show", "color", "similar", "flow",
  "cancel", "show_fields", "show_edits", "rank", "rounds", "audit_load", "audit_poll",
];
export const uris = Object.fromEntries(EVENTS.map((name) => [name, name]));

export function cluster(name: string, size: number): Cluster {
  return {
    name, size, reviewed: false, noise: false, distance: null, confidence: null, uncertain: 0, changes: null,
    stability: null, outlier_from: null, numbers: [], majority: null, majority_share: null, key_words: [],
  };
}

export function loaded(key: string, clusters: Cluster[], field: string | null = null): LoadAnswer {
  const runs = ["dc", "other"].map((name) => ({
    key: name, method: "frozen", status: "finished" as const, text: "", fraction: null, started: null, cancelling: false, resumable: false, again: false, charts: [],
  }));
  const run = {
    key, method: "frozen", unit: "image" as const, label_fields: ["truth"],
    label_path: `${key}.label`, map: `${key}_viz`, rounds: 1, verdict: "",
    facts: "", warnings: [], resumable: false,
  };
  const history = { undo: null, redo: null, lost: 0, version: 1 };
  return { runs, jobs: world.jobs, audits: [], sidebar: world.sidebar, run, clusters, nearest: world.nearest, history, label_field: field };
}

interface World {
  jobs: JobRow[];
  clusters: Cluster[];
  nearest: LoadAnswer["nearest"];
  sidebar: SidebarGroup[];
  /** Whether others have edited. */
  stale: boolean;
  /** Events of the panel, in order. */
  asked: [string, Record<string, unknown>][];
  edits: Edit[];
}

/** What the server has, and what it was asked for; new for every test. */
export const world: World = { jobs: [], clusters: [], nearest: {}, sidebar: [], stale: false, asked: [], edits: [] };

let hold: Promise<void> = Promise.resolve();
let letGo: () => void = () => undefined;

/** Edits are answered after `release()`. */
export function holdEdits(): void {
  hold = new Promise((resolve) => (letGo = resolve));
}

export const release = (): void => letGo();
export const held = (): Promise<void> => hold;

export async function answer(event: string, params: Record<string, unknown>): Promise<{ value: unknown } | { message: string }> {
  world.asked.push([event, params]);
  if (event === "load") {
    return { value: loaded((params["key"] as string | null) ?? "dc", world.clusters, params["label_field"] as string | null) };
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
    world.edits.push(edit);
    await hold;
    const history = { undo: "it", redo: null, version: world.edits.length + 1 };
    const change = { n_changed: 1, n_kept: 0, text: edit.verb };
    if (edit.verb === "rename") {
      const changed = [{ ...cluster(edit.new_name, 5) }];
      return { value: { change, clusters: changed, gone: [edit.cluster], stale: world.stale, history, label_fields: ["truth"] } };
    }
    if (edit.verb === "mark_reviewed") {
      const changed = world.clusters.filter((one) => edit.clusters.includes(one.name)).map((one) => ({ ...one, reviewed: true }));
      return { value: { change, clusters: changed, gone: [], stale: world.stale, history, label_fields: ["truth"] } };
    }
    return { value: { change, clusters: [], gone: [], stale: world.stale, history, label_fields: ["truth"] } };
  }
  if (event === "preview_split") return { message: "cluster 'one' has 1 images with vectors" };
  return { message: `no answer to ${event}` };
}

export const part = (name: string): HTMLElement | null => document.querySelector(`[data-cy="${name}"]`);
export const wait = async (milliseconds: number): Promise<void> => {
  await act(() => vi.advanceTimersByTimeAsync(milliseconds));
};
export const settle = (): Promise<void> => wait(400);
export const press = (key: string, more = {}): void => {
  fireEvent.keyDown(document.activeElement ?? document.body, { key, ...more });
};

export const click = (name: string): void => void fireEvent.click(part(name) as HTMLElement);
export const events = (name: string): World["asked"] => world.asked.filter(([event]) => event === name);

/** Types a name into the dialog and presses Enter. */
export function submitName(name: string): void {
  fireEvent.change(part("dc-dialog-name") as HTMLElement, { target: { value: name } });
  fireEvent.submit(document.querySelector("form") as HTMLFormElement);
}

/** Shows the board, and opens a cluster if its name is given; `view`: what else the server renders it with. */
export async function openBoard(name?: string, view: Record<string, unknown> = {}): Promise<RenderResult> {
  const rendered = render(<Board schema={{ view: { ...uris, ...view } }} />);
  await settle();
  if (name) await openCluster(name);
  return rendered;
}

/** Opens the second of the runs in the tab Runs. */
export async function openSecondRun(): Promise<void> {
  click("dc-tab-runs");
  fireEvent.click(screen.getAllByText("Open")[1] as HTMLElement);
  await settle();
}

export async function openCluster(name: string): Promise<void> {
  click(`dc-cluster-${name}`);
  await settle();
}

export const shown = (): string | undefined => part("dc-cluster-name")?.textContent ?? undefined;

/** Timers, sizes and a new world for every test of a file. */
export function fakeBoard(): void {
  beforeEach(() => {
    vi.useFakeTimers({ shouldAdvanceTime: true, toFake: ["setTimeout", "clearTimeout", "performance"] });
    vi.stubGlobal("ResizeObserver", class {
      observe(): void {}
      disconnect(): void {}
    });
    vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(600);
    vi.spyOn(HTMLElement.prototype, "clientWidth", "get").mockReturnValue(600);
    world.clusters = [cluster("one", 5), cluster("two", 4), cluster("three", 3)];
    world.nearest = {};
    world.jobs = [];
    world.sidebar = [];
    world.stale = false;
    world.asked = [];
    world.edits = [];
    hold = Promise.resolve();
    server.answer = answer;
    sessionStorage.clear();
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
}
