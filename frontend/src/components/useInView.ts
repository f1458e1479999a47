import * as fos from "@fiftyone/state";
import React from "react";
import { useRecoilValue } from "recoil";

import { isWhole } from "../model/gridView";
import type { Board } from "../model/useBoard";

const WAIT = 300; // milliseconds that the view must be unchanged

/** Number of images of each cluster in the user's view and filters; null where they show everything. */
export function useInView(board: Board): Record<string, number> | null {
  const view = useRecoilValue(fos.view);
  const filters = useRecoilValue(fos.filters);
  const [counts, setCounts] = React.useState<Record<string, number> | null>(null);
  const { ask, fail, version } = board;
  const key = board.run?.key ?? null;
  const whole = isWhole(view) && isEmpty(filters);
  React.useEffect(() => {
    if (key === null || whole) {
      setCounts(null);
      return;
    }
    let current = true;
    const timer = window.setTimeout(() => {
      ask("in_view", { key }).then((answer) => current && setCounts(answer.counts), fail);
    }, WAIT);
    return () => {
      current = false;
      window.clearTimeout(timer);
    };
  }, [ask, fail, key, whole, view, filters, version]);
  return counts;
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || (typeof value === "object" && Object.keys(value).length === 0);
}
