// The picture of a result: one line per path, message size and value on logarithmic axes. Floor 4.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "bench/measure/output.hpp"

namespace smcd::bench {
namespace {

constexpr double kWidth = 800;
constexpr double kHeight = 480;
constexpr double kLeft = 90;
constexpr double kRight = 170;
constexpr double kTop = 40;
constexpr double kBottom = 60;

template <typename... Values>
std::string print(const char* pattern, Values... values) {
    char text[512];
    std::snprintf(text, sizeof(text), pattern, values...);
    return text;
}

struct Point {
    double x = 0;
    double y = 0;
    double low = 0;
    double high = 0;
};

/// What the mode is about.
struct Quantity {
    const char* label;
    const Summary& (*of)(const Series& series);
};

Quantity quantity_of(Mode mode) {
    if (is_latency_mode(mode)) {
        return {"latency p50, us",
                [](const Series& s) -> const Summary& { return s.latency_p50_us(); }};
    }
    if (mode == Mode::stream) {
        return {"MB/s", [](const Series& s) -> const Summary& { return s.bandwidth(); }};
    }
    return {"per second", [](const Series& s) -> const Summary& { return s.rate(); }};
}

/// A logarithmic axis between the decades (or powers of two) around the values.
class Axis {
public:
    Axis(double low, double high, double base, double from, double to)
        : base_(base), from_(from), to_(to) {
        low_ = std::floor(log(std::max(low, 1e-6)) + 1e-9);
        high_ = std::max(std::ceil(log(std::max(high, 1e-6)) - 1e-9), low_ + 1);
    }

    [[nodiscard]] double at(double value) const {
        const double share = (log(std::max(value, 1e-6)) - low_) / (high_ - low_);
        return from_ + share * (to_ - from_);
    }

    /// At most about a dozen.
    [[nodiscard]] std::vector<double> ticks() const {
        std::vector<double> values;
        const double step = std::max(1.0, std::floor((high_ - low_) / 12) + 1);
        for (double power = low_; power <= high_; power += step) {
            values.push_back(std::pow(base_, power));
        }
        return values;
    }

private:
    [[nodiscard]] double log(double value) const { return std::log(value) / std::log(base_); }

    double base_;
    double from_;
    double to_;
    double low_;
    double high_;
};

std::string axes_text(const Axis& x, const Axis& y, const Quantity& quantity) {
    std::string text;
    for (const double value : x.ticks()) {
        text += print("<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                      x.at(value),
                      kHeight - kBottom + 20,
                      size_label(value).c_str());
    }
    for (const double value : y.ticks()) {
        text += print("<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#ddd'/>"
                      "<text x='%.1f' y='%.1f' text-anchor='end'>%g</text>\n",
                      kLeft,
                      y.at(value),
                      kWidth - kRight,
                      y.at(value),
                      kLeft - 8,
                      y.at(value) + 4,
                      value);
    }
    text += print("<text x='%.1f' y='%.1f' text-anchor='middle'>message size, bytes</text>\n",
                  (kLeft + kWidth - kRight) / 2,
                  kHeight - 15);
    text += print(
        "<text x='20' y='%.1f' text-anchor='middle' transform='rotate(-90 20 %.1f)'>%s</text>\n",
        kHeight / 2,
        kHeight / 2,
        quantity.label);
    return text;
}

std::string
line_text(const std::vector<Point>& points, const Axis& x, const Axis& y, const char* colour) {
    std::string text = print("<polyline fill='none' stroke='%s' stroke-width='2' points='", colour);
    for (const Point& point : points) {
        text += print("%.1f,%.1f ", x.at(point.x), y.at(point.y));
    }
    text += "'/>\n";
    for (const Point& point : points) {
        text += print("<circle cx='%.1f' cy='%.1f' r='4' fill='%s'/>"
                      "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='%s'/>\n",
                      x.at(point.x),
                      y.at(point.y),
                      colour,
                      x.at(point.x),
                      y.at(point.low),
                      x.at(point.x),
                      y.at(point.high),
                      colour);
    }
    return text;
}

} // namespace

std::string svg_text(const Options& options, const Result& result) {
    const Quantity quantity = quantity_of(options.mode);
    std::map<std::string, std::vector<Point>> lines;
    Point least{1e300, 1e300, 0, 0};
    Point most{};
    for (const Line& line : result.lines) {
        const Summary& value = quantity.of(line.series);
        if (value.median() <= 0) {
            continue;
        }
        const std::string name =
            line.series.path() +
            (line.plan.path == Path::tcp && !line.plan.nodelay ? " Nagle" : "");
        const Point point{line.series.message_bytes(), value.median(), value.low(), value.high()};
        lines[name].push_back(point);
        least = {std::min(least.x, point.x), std::min(least.y, point.low), 0, 0};
        most = {std::max(most.x, point.x), std::max(most.y, point.high), 0, 0};
    }
    std::string text = print(
        "<svg xmlns='http://www.w3.org/2000/svg' width='%g' height='%g' font-family='sans-serif' "
        "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
        kWidth,
        kHeight);
    text += print(
        "<text x='%.1f' y='22' font-size='15'>smcu bench %s: medians with their intervals</text>\n",
        kLeft,
        std::string(name_of(options.mode)).c_str());
    const Axis x(least.x, most.x, 2, kLeft, kWidth - kRight);
    const Axis y(least.y, most.y, 10, kHeight - kBottom, kTop);
    text += axes_text(x, y, quantity);
    static constexpr const char* kColours[] = {
        "#c0392b", "#2471a3", "#1e8449", "#b7950b", "#7d3c98", "#566573"};
    std::size_t number = 0;
    for (auto& [name, points] : lines) {
        std::sort(
            points.begin(), points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
        const char* colour = kColours[number % std::size(kColours)];
        text += line_text(points, x, y, colour);
        text += print("<text x='%.1f' y='%.1f' fill='%s'>%s</text>\n",
                      kWidth - kRight + 15,
                      kTop + 20.0 + 20.0 * static_cast<double>(number),
                      colour,
                      name.c_str());
        ++number;
    }
    return text + "</svg>\n";
}

} // namespace smcd::bench
