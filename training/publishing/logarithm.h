/* app.features.ragged.natural_log, for x > 0: one text for the twin of the features and for that of the ensemble. In a
 * header, so that each library inlines its own and neither needs the other.
 */
#ifndef PLTV_LOGARITHM_H
#define PLTV_LOGARITHM_H

#include <math.h>

static double natural_log(double x) {
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.7071067811865476) {
        m = m + m;
        exponent -= 1;
    }
    double k = (double)exponent, f = m - 1.0, s = f / (f + 2.0), z = s * s, w = z * z;
    double t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double t2 = z * (6.666666666666735130e-01 +
                     w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double r = t2 + t1, h = 0.5 * f * f;
    return k * 6.93147180369123816490e-01 - ((h - (s * (h + r) + k * 1.90821492927058770002e-10)) - f);
}

#endif
