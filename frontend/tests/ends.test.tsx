// What the panel says and shows when a run, an audit or another job ends.
import { describe, expect, it } from "vitest";

import { endOf } from "../src/components/usePolling";
import type { JobRow, RunRow } from "../src/model/api";
import { server } from "./app";
import { answer, click, fakeBoard, openBoard, part, wait, world } from "./fakeBoard";

fakeBoard();

const job: JobRow = {
  key: "job-audit_labels-audit", verb: "audit_labels", about: "audit", method: "Audit labels", status: "running", text: "fit", fraction: null,
  started: 1, cancelling: false, again: false, made: "",
};
const run: RunRow = { key: "big", method: "dac", status: "running", text: "", fraction: null, started: 1, cancelling: false, resumable: false, again: false, charts: [] };

describe("the end", () => {
  it.each([
    ["finished", "", "The run big is finished.", "success"],
    ["finished", "no space", "The run big is as it was before: no space", "error"],
    ["failed", "no space", "The run big failed: no space", "error"],
    ["failed", "", "The run big failed.", "error"],
    ["interrupted", "its process died", "The run big was interrupted: its process died", "warning"],
    ["cancelled", "cancelled before the start", "The run big was cancelled.", "info"],
  ] as const)("of a run that is %s (%s) is said", (status, text, said, kind) => {
    expect(endOf({ ...run, status, text })).toEqual({ text: said, kind });
  });
  it.each([
    ["finished", "200 labels audited", "200 labels audited", "success"],
    ["failed", "no such field", "Audit labels failed: no such field", "error"],
    ["cancelled", "", "Audit labels was cancelled.", "info"],
  ] as const)("of another job that is %s is said", (status, text, said, kind) => {
    expect(endOf({ ...job, status, text })).toEqual({ text: said, kind });
  });
});

describe("the first audit", () => {
  it("is loaded when it ends; until then, nothing says that there is none", async () => {
    let audits: string[] = [];
    let loads = 0;
    server.answer = async (event, params) => {
      if (event === "audit_load") {
        loads++;
        return { value: { audits, audit: null } };
      }
      if (event === "audit_poll") return { value: { audits: [], stale: false, n_fits: 0, refitting: false } };
      const found = await answer(event, params);
      if (event === "poll") return { value: { runs: [run], jobs: world.jobs, audits, stale: false } };
      return event === "load" && "value" in found ? { value: { ...(found.value as object), audits } } : found;
    };
    await openBoard();
    click("dc-tab-audit");
    await wait(100);
    expect(part("dc-no-audit")).not.toBe(null);
    world.jobs = [job];
    await wait(3000);
    expect(part("dc-no-audit")).toBe(null);
    const before = loads;
    world.jobs = [{ ...job, status: "finished", text: "200 labels audited" }];
    audits = ["audit"];
    await wait(2600);
    expect(part("dc-no-audit")).toBe(null);
    expect(loads).toBeGreaterThan(before);
  });
});
