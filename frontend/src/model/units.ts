// What one image of a run is called: an image, or an object for runs on patches.
import type { RunFacts } from "./api";

/** "images", or "objects". */
export function units(run: RunFacts | null): string {
  return run?.unit === "object" ? "objects" : "images";
}

/** A number of images, such as "1 image" or "2,000 objects". */
export function counted(n: number, run: RunFacts | null): string {
  return `${n.toLocaleString("en")} ${run?.unit ?? "image"}${n === 1 ? "" : "s"}`;
}
