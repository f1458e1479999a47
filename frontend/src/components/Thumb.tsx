import { getSampleSrc } from "@fiftyone/state";
import React from "react";

import type { Box, Picture } from "../model/shared";

/** Style that shows `box` of an image of `width` x `height` pixels as large as it fits into a square. */
export function cropStyle(box: Box, width: number, height: number, size: number): React.CSSProperties {
  const [x, y, w, h] = box;
  const scale = size / Math.max(w * width, h * height, 1e-9);
  return {
    position: "absolute",
    width: width * scale,
    height: height * scale,
    left: (size - w * width * scale) / 2 - x * width * scale,
    top: (size - h * height * scale) / 2 - y * height * scale,
    maxWidth: "none",
    clipPath: `inset(${y * 100}% ${(1 - x - w) * 100}% ${(1 - y - h) * 100}% ${x * 100}%)`,
  };
}

/** One image, or one object cut out of its image, in a square. */
export const Thumb = React.memo(function Thumb({ picture, size }: { picture: Picture; size: number }) {
  const [natural, setNatural] = React.useState<[number, number] | null>(null);
  const [broken, setBroken] = React.useState(false);
  const { box, path } = picture;
  const whole: React.CSSProperties = { width: size, height: size, objectFit: "contain" };
  // FiftyOne's grid shows small images with sharp pixels, too
  const pixels: React.CSSProperties = natural && Math.max(...natural) < size ? { imageRendering: "pixelated" } : {};
  const style = box === null ? whole : natural ? cropStyle(box, ...natural, size) : { ...whole, visibility: "hidden" as const };
  return (
    <div style={{ position: "relative", width: size, height: size, overflow: "hidden", fontSize: 10 }}>
      {broken ? (
        <span title={path}>not readable</span>
      ) : (
        <img
          src={getSampleSrc(path)}
          alt=""
          loading="lazy"
          decoding="async"
          draggable={false}
          style={{ ...style, ...pixels }}
          onLoad={(event) => setNatural([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])}
          onError={() => setBroken(true)}
        />
      )}
    </div>
  );
});
