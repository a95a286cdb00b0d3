import { CridError } from "../../base/errors.ts";

/** Changes a repository path for a mirror that keeps it elsewhere. */
export type Rewrite = (path: string) => string;

/**
 * Rules are regular expressions with their replacement (`$1`), as k3s and RKE2 have them in registries.yaml; the first that
 * matches is applied, and only it.
 *
 * @throws failed-precondition naming the rule that is no regular expression
 */
export function rewriteOf(rules: Readonly<Record<string, string>> | undefined): Rewrite {
  if (rules === undefined) return (path) => path;
  const compiled = Object.entries(rules).map(([pattern, replacement]) => ({ pattern: compile(pattern), replacement }));
  return (path) => {
    const rule = compiled.find(({ pattern }) => pattern.test(path));
    return rule === undefined ? path : path.replace(rule.pattern, rule.replacement);
  };
}

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new CridError("failed-precondition", `registry mirror rewrite rule "${pattern}": not a regular expression`, { cause: error });
  }
}
