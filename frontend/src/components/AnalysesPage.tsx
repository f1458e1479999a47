import { Box, Button, Typography, useTheme } from "@mui/material";
import { getSampleSrc, selectedSamples } from "@fiftyone/state";
import React from "react";
import { useRecoilValue } from "recoil";

import type { AnalysesAnswer, LayerScore, NeighborsAnswer, NumbersAnswer, TreeNode } from "../model/api";
import { places } from "../model/tree";
import type { Board } from "../model/useBoard";
import { number } from "./Header";
import { JobRows } from "./JobRows";
import { LineChart } from "./LineChart";
import { Thumb } from "./Thumb";

const OPERATORS: readonly [string, string][] = [
  ["build_category_tree", "Build category tree"],
  ["find_key_words", "Find key words"],
  ["probe_layers", "Probe layers"],
  ["draw_filters", "Draw filters"],
  ["find_neighbors", "Find neighbors"],
  ["recommend_number", "Recommend number of clusters"],
];
const KINDS: Record<string, string> = { learned: "after training", initial: "before training", pixels: "on pixels" };

/** Analyses of a run: category tree, linear probes, units of a layer, neighbors of the selected image. */
export function AnalysesPage({ board }: { board: Board }) {
  const { ask, fail, run, version } = board;
  const key = run?.key ?? "";
  const [answer, setAnswer] = React.useState<AnalysesAnswer | null>(null);
  const [again, setAgain] = React.useState(0);
  React.useEffect(() => {
    let current = true;
    ask("analyses", { key }).then((answer) => current && setAnswer(answer), fail);
    return () => {
      current = false;
    };
  }, [ask, fail, key, version, again]);
  const start = (operator: string): void => {
    ask("start", { operator, key }).catch(fail);
  };
  return (
    <Box sx={{ p: 1, overflowY: "auto", flex: 1 }} data-cy="dc-analyses">
      <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1 }}>
        {OPERATORS.map(([operator, text]) => (
          <Button key={operator} size="small" variant="outlined" onClick={() => start(operator)} data-cy={`dc-start-${operator}`}>
            {text}
          </Button>
        ))}
        <Button size="small" onClick={() => setAgain(again + 1)} data-cy="dc-analyses-again">
          Refresh
        </Button>
      </Box>
      <JobRows board={board} jobs={board.jobs.filter((job) => job.about === key)} />
      {answer && isEmpty(answer) && (
        <Typography variant="body2" color="text.secondary" sx={{ mt: 2 }} data-cy="dc-no-analyses">
          This run has no analyses yet. Start one with a button above.
        </Typography>
      )}
      {answer && answer.tree.length > 0 && (
        <Tree nodes={answer.tree} onNode={(clusters) => void ask("show_node", { key, clusters }).catch(fail)} />
      )}
      {answer?.numbers && <NumberOfClusters found={answer.numbers} />}
      {answer?.probe && <Probe probe={answer.probe} />}
      {answer && answer.units.length > 0 && (
        <Section title={`${answer.layer ?? ""}, ${answer.units.length} units`} about="Left: image optimized to maximize the activation; right: the nine images with the highest activations. Click a unit to show them in the grid.">
          <Box sx={{ display: "flex", flexWrap: "wrap", gap: 0.5 }}>
            {answer.units.map(({ unit, path }) => (
              <img
                key={unit}
                src={getSampleSrc(path)}
                alt={`unit ${unit}`}
                title={`unit ${unit}`}
                height={73}
                loading="lazy"
                style={{ cursor: "pointer" }}
                data-cy={`dc-unit-${unit}`}
                onClick={() => void ask("show_unit", { key, unit }).catch(fail)}
              />
            ))}
          </Box>
        </Section>
      )}
      {answer?.retrieval && <RetrievalScores retrieval={answer.retrieval} />}
      <Neighbors board={board} again={again} />
    </Box>
  );
}

function isEmpty({ tree, numbers, probe, units, retrieval }: AnalysesAnswer): boolean {
  return !tree.length && !numbers && !probe && !units.length && !retrieval;
}

function Section({ title, about, children }: { title: string; about?: string; children: React.ReactNode }) {
  return (
    <Box sx={{ mt: 2 }}>
      <Typography variant="subtitle2">{title}</Typography>
      {about && (
        <Typography variant="caption" color="text.secondary" component="p" sx={{ mb: 0.5 }}>
          {about}
        </Typography>
      )}
      {children}
    </Box>
  );
}

/** Label-free scores of several numbers of clusters; the recommended one is marked, its interval shaded. */
function NumberOfClusters({ found }: { found: NumbersAnswer }) {
  const { advice, gain, interval, lines, numbers, objective, recommended, stands_out } = found;
  const shared = { unit: "", positions: numbers, axis: "number of clusters", marked: recommended, band: interval };
  const about =
    "Measured without labels, from the embeddings of the run. Gain: how many times as much the last step up to a number lowers the distances to the center as finer " +
    `steps do; the largest number with ${stands_out} or more is recommended, or else the one with the highest score. The score is the mean of stability (agreement of clusterings ` +
    "with different seeds) and silhouette; linear is the accuracy of a linear classifier on the clusters.";
  return (
    <Section title="Number of clusters" about={about}>
      <Typography variant="body2" data-cy="dc-number">
        {advice}
      </Typography>
      <Box sx={{ display: "grid", gap: 2, gridTemplateColumns: "repeat(auto-fill, minmax(260px, 1fr))" }} data-cy="dc-number-curves">
        {gain.length > 0 && <LineChart title="Gain" lines={[{ name: "Gain", values: gain }]} limit={[stands_out, `stands out from ${stands_out}`]} {...shared} />}
        <LineChart title="Scores" lines={lines} {...shared} />
        <LineChart title="Squared distance to the center" lines={[{ name: "Objective", values: objective }]} {...shared} />
      </Box>
    </Section>
  );
}

const LEVEL = 34;

/** Groups above their clusters; the width is the number of images. */
function Tree({ nodes, onNode }: { nodes: readonly TreeNode[]; onNode(clusters: readonly string[]): void }) {
  const { palette } = useTheme();
  const drawn = places(nodes);
  const total = Math.max(1, ...drawn.map((place) => place.start + place.node.size));
  const depth = Math.max(0, ...drawn.map((place) => place.depth)) + 1;
  return (
    <Section title="Categories" about="Groups of clusters that the network confuses, from the largest down. Click a group or cluster to show its images.">
      <Box sx={{ position: "relative", height: depth * LEVEL, fontSize: 11 }} data-cy="dc-tree">
        {drawn.map(({ node, depth, start }) => (
          <Box
            key={`${node.name} ${node.leaf}`}
            title={`${node.name}: ${number(node.size)} ${node.size === 1 ? "image" : "images"}\n${node.leaf ? "" : node.clusters.join(", ")}`}
            data-cy={`dc-node-${node.name}`}
            onClick={() => onNode(node.clusters)}
            sx={{ position: "absolute", overflow: "hidden", whiteSpace: "nowrap", px: 0.5, cursor: "pointer", boxSizing: "border-box", border: "1px solid", borderColor: "background.paper", lineHeight: `${LEVEL - 4}px` }}
            style={{
              left: `${(100 * start) / total}%`,
              width: `${(100 * node.size) / total}%`,
              top: depth * LEVEL,
              height: LEVEL - 2,
              background: node.leaf ? palette.action.selected : palette.primary.dark,
              color: node.leaf ? palette.text.primary : palette.primary.contrastText,
            }}
          >
            {node.name}
          </Box>
        ))}
      </Box>
    </Section>
  );
}

function Probe({ probe }: { probe: NonNullable<AnalysesAnswer["probe"]> }) {
  const about =
    `Accuracy of a linear classifier on held-out images, layer by layer: ${probe.label_field}, ` +
    `${number(probe.n_images)} images in ${probe.n_classes} classes, ${probe.folds} folds. ` +
    `Always predicting the largest class gives ${Math.round(100 * probe.chance)} %.`;
  const layers = [...new Set(probe.scores.map((score) => score.layer))];
  const of = (layer: string, network: string): LayerScore | undefined =>
    probe.scores.find((score) => score.layer === layer && score.network === network);
  return (
    <Section title="Linear probes" about={about}>
      <Box component="table" sx={{ fontSize: 12, borderSpacing: "12px 2px" }} data-cy="dc-probe">
        <thead>
          <tr>
            {["Layer", "Logistic regression", "before training", "Linear SVM", "before training"].map((title, at) => (
              <th key={at} style={{ textAlign: "left", fontWeight: 500 }}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {layers.map((layer) => (
            <tr key={layer}>
              <td>{layer}</td>
              <Bar value={of(layer, "trained")?.logistic} />
              <Bar value={of(layer, "initial")?.logistic} faint />
              <Bar value={of(layer, "trained")?.svm} />
              <Bar value={of(layer, "initial")?.svm} faint />
            </tr>
          ))}
        </tbody>
      </Box>
    </Section>
  );
}

function Bar({ value, faint = false }: { value: number | undefined; faint?: boolean }) {
  const { palette } = useTheme();
  if (value === undefined) return <td>–</td>;
  return (
    <td>
      <span
        style={{
          display: "inline-block",
          width: 60 * value,
          height: 9,
          marginRight: 4,
          background: faint ? palette.text.disabled : palette.primary.main,
        }}
      />
      {(100 * value).toFixed(1)}
    </td>
  );
}

function RetrievalScores({ retrieval }: { retrieval: NonNullable<AnalysesAnswer["retrieval"]> }) {
  const chance = retrieval.scores[0]?.chance ?? 0;
  return (
    <Section title={`Neighbors of the same ${retrieval.label_field}`} about={`By chance ${chance.toFixed(3)}.`}>
      {retrieval.scores.map((score) => (
        <Typography key={score.features} variant="body2" data-cy="dc-retrieval">
          {KINDS[score.features] ?? score.features}: mAP {score.mean_average_precision.toFixed(3)}, precision@{score.k}{" "}
          {score.precision.toFixed(3)}
        </Typography>
      ))}
    </Section>
  );
}

/** Nearest neighbors of the image selected in the grid. */
function Neighbors({ board, again }: { board: Board; again: number }) {
  const { ask, fail, run } = board;
  const key = run?.key ?? "";
  const selected = useRecoilValue(selectedSamples);
  const ids = [...selected.keys()];
  const image = ids.length === 1 ? (ids[0] ?? null) : null;
  const [answer, setAnswer] = React.useState<NeighborsAnswer["neighbors"]>(null);
  React.useEffect(() => {
    let current = true;
    ask("neighbors", { key, image: image ?? "" }).then((answer) => current && setAnswer(answer.neighbors), fail);
    return () => {
      current = false;
    };
  }, [ask, fail, key, image, again]);
  if (answer === null) return null;
  const kinds = Object.entries(answer);
  if (image === null || kinds.length === 0) {
    return (
      <Typography variant="body2" color="text.secondary" sx={{ mt: 2 }} data-cy="dc-neighbors-hint">
        {image === null
          ? "Select one image in the grid to see its neighbors here."
          : "No neighbors are known for the selected image: it was added after they were computed, or is not readable."}
      </Typography>
    );
  }
  return (
    <>
      {kinds.map(([kind, pictures]) => (
        <Section key={kind} title={`Nearest neighbors of the selected image, ${KINDS[kind] ?? kind}`}>
          <Box sx={{ display: "flex", flexWrap: "wrap", gap: 0.5 }} data-cy={`dc-neighbors-${kind}`}>
            {pictures.map((picture) => (
              <span key={picture.id} title={`distance ${picture.distance.toFixed(3)}`}>
                <Thumb picture={picture} size={64} />
              </span>
            ))}
          </Box>
        </Section>
      ))}
    </>
  );
}
