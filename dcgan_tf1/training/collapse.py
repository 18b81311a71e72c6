"""A warning when one player has left the other behind."""


class CollapseDetector:
    """Warns when D(x) and D(G(z)) show that one player has left the other behind, once for each reason."""

    def __init__(self) -> None:
        self._d_x = self._d_g_z = 0.5
        self._warned: set[str] = set()

    def check(self, metrics: dict[str, float]) -> list[str]:
        """The new warnings after a row of metrics, judged by moving averages over about 50 rows."""
        self._d_x += 0.02 * (metrics["d_x"] - self._d_x)
        self._d_g_z += 0.02 * (metrics["d_g_z"] - self._d_g_z)
        reasons = []
        if self._d_x - self._d_g_z > 0.96:
            reasons.append("the discriminator tells every fake (the generator learns little); try a lower --lr_d")
        if (self._d_g_z > 0.9 and self._d_x > 0.9) or (self._d_x < 0.1 and self._d_g_z < 0.1):
            reasons.append("the discriminator no longer tells real from fake; try a higher --lr_d or a lower --lr_g")
        new = [reason for reason in reasons if reason not in self._warned]
        self._warned.update(new)
        return [f"warning: D(x) is {self._d_x:.2f} and D(G(z)) {self._d_g_z:.2f}: {reason}" for reason in new]
