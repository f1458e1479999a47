import { useSetPanelStateById, useSpaceNodes } from "@fiftyone/spaces";
import * as fos from "@fiftyone/state";
import React from "react";
import { useSetRecoilState } from "recoil";

import type { Board } from "../model/useBoard";

const MAP_PANEL = "Embeddings";
const MOUNT = 500; // milliseconds after which a panel that was just opened has its own state

export interface Colors {
  readonly on: boolean;
  turn(on: boolean): void;
}

/** While on, the App's grid and its map of embeddings are colored by the clusters of the chosen run. */
export function useColors(board: Board): Colors {
  const [on, turn] = React.useState(false);
  const { ask, fail, run } = board;
  const [key, map, path] = [run?.key ?? null, run?.map ?? null, run?.label_path ?? null];
  const setScheme = useSetRecoilState(fos.colorScheme);
  React.useEffect(() => {
    if (!on || key === null) return;
    ask("color", { key }).catch(fail);
    setScheme((scheme) => (scheme?.["colorBy"] === "value" ? scheme : { ...scheme, colorBy: "value" }));
  }, [ask, fail, key, on, setScheme]);

  const nodes = useSpaceNodes(fos.constants.FIFTYONE_GRID_SPACES_ID);
  const maps = nodes.filter((node) => node.type === MAP_PANEL).map((node) => node.id);
  const opened = JSON.stringify(maps);
  const setPanel = useSetPanelStateById(true);
  const set = React.useRef(setPanel);
  set.current = setPanel;
  React.useEffect(() => {
    if (!on || map === null) return;
    const timer = window.setTimeout(() => {
      for (const panel of JSON.parse(opened) as string[]) {
        void set.current(panel, (state) => ({ ...state, openKey: map, colorField: path }));
      }
    }, MOUNT);
    return () => window.clearTimeout(timer);
  }, [map, on, opened, path]);
  return { on, turn };
}
