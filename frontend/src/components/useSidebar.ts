import * as fos from "@fiftyone/state";
import React from "react";
import { useRecoilValue, useSetRecoilState } from "recoil";

import type { SidebarGroup } from "../model/api";
import { mergedGroups } from "../model/sidebar";
import type { Board } from "../model/useBoard";

/** Shows sidebar groups of new runs, and removes those of deleted ones, immediately; the App does so only when it is loaded. */
export function useSidebar(board: Board): void {
  const state = fos.sidebarGroupsDefinition(false);
  const shown = React.useRef<readonly SidebarGroup[]>([]);
  shown.current = useRecoilValue(state);
  const set = useSetRecoilState(state);
  const stored = JSON.stringify(board.sidebar);
  const runs = JSON.stringify(board.runs.map((row) => row.key));
  const known = React.useRef<readonly string[]>([]);
  React.useEffect(() => {
    const keys = JSON.parse(runs) as string[];
    const deleted = known.current.filter((key) => !keys.includes(key));
    known.current = keys;
    const merged = mergedGroups(JSON.parse(stored) as SidebarGroup[], shown.current, deleted);
    if (merged) set(merged);
  }, [runs, set, stored]);
}
